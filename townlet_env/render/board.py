"""The map: ground, walls, objects, residents, and who waits for what."""

from __future__ import annotations

import pygame

from townlet_env.render.daylight import light_in_rooms, light_outside
from townlet_env.render.geometry import Box, Geometry
from townlet_env.render.icons import draw_icon, draw_meeting, draw_out_of_order, has_icon
from townlet_env.render.labels import kind_codes
from townlet_env.render.letters import Letters
from townlet_env.render.palette import (
    DANGER,
    INK,
    OUT_OF_ORDER,
    PAPER,
    RIVALRY,
    TRUST,
    WHITE,
    Colour,
    blend,
    kind_colour,
    token_colour,
)
from townlet_env.render.pen import Sprites, put
from townlet_env.render.scene import ObjectSight, Scene, Tie
from townlet_env.render.terrain import Terrain
from townlet_env.render.tokens import Tokens
from townlet_env.sim.ids import NONE

RIVALRY_SHOWN = 0.02  # ties below are not drawn
TRUST_SHOWN = 0.2
STOCK_SHOWN = 18  # pixels of a cell; in smaller ones only empty stock is marked


class Board:
    """Draws the map part of a picture."""

    def __init__(self, geometry: Geometry, letters: Letters, sprites: Sprites) -> None:
        """Prepare; the ground is drawn with the first picture."""
        self._geometry = geometry
        self._letters = letters
        self._sprites = sprites
        self._tokens = Tokens(geometry.token, letters, sprites)
        self._terrain: Terrain | None = None

    def draw(self, surface: pygame.Surface, scene: Scene, labels: dict[int, str]) -> None:
        """Draw the map of a scene; ``labels`` are the short names by slot."""
        if self._terrain is None:
            self._terrain = Terrain(scene.ground, self._geometry.cell, self._sprites)
        outside = light_outside(scene.minute, power=scene.power)
        rooms = light_in_rooms(scene.minute, power=scene.power)
        board = self._geometry.board
        surface.blit(self._terrain.lit(outside, rooms), (board.x, board.y))
        codes = kind_codes(scene.kinds)
        for thing in scene.objects:
            light = rooms if self._terrain.is_room(thing.x, thing.y) else outside
            self._object(surface, thing, codes[thing.kind_index], light)
        self._ties(surface, scene)
        for thing in scene.objects:
            self._state_of(surface, thing)
        self._lines(surface, scene)
        for resident in scene.residents:
            box = self._geometry.token_box(resident.x, resident.y)
            self._tokens.draw(surface, box, resident, labels[resident.slot])

    def _object(
        self, surface: pygame.Surface, thing: ObjectSight, code: str, light: Colour
    ) -> None:
        box, in_use = self._geometry.cell_box(thing.x, thing.y), thing.user != NONE
        colour = kind_colour(thing.kind_index)
        sprite = self._sprites.get(
            ("object", thing.kind, in_use and thing.works),
            box.w,
            lambda pen: draw_icon(pen, thing.kind, colour, in_use=in_use and thing.works),
        ).copy()
        # Half the darkness of the ground: at night things are still to be told apart.
        tint = blend(light, WHITE if thing.works else OUT_OF_ORDER, 0.5)
        sprite.fill(tint, special_flags=pygame.BLEND_RGB_MULT)
        put(surface, sprite, box.x, box.y)
        if not has_icon(thing.kind):
            middle = (box.x + box.w * 0.5, box.y + box.h * 0.54)
            self._letters.put(surface, code.capitalize(), middle, box.w * 0.3, WHITE, "center")

    def _state_of(self, surface: pygame.Surface, thing: ObjectSight) -> None:
        """Draw who uses or holds an object, its stock, and that it does not work."""
        box = self._geometry.cell_box(thing.x, thing.y)
        if thing.user != NONE:
            self._outline(surface, box, token_colour(thing.user), whole=True)
        elif thing.holder != NONE:
            self._outline(surface, box, token_colour(thing.holder), whole=False)
        if not thing.works:
            sprite = self._sprites.get(("out of order",), box.w, draw_out_of_order)
            put(surface, sprite, box.x, box.y)
        if thing.meeting:
            put(surface, self._sprites.get(("meeting",), box.w, draw_meeting), box.x, box.y)
        if thing.stocked:
            self._stock(surface, box, thing.stock)

    def _outline(self, surface: pygame.Surface, box: Box, colour: Colour, *, whole: bool) -> None:
        """Frame an object: whole for its user, only the corners for who holds its reservation."""
        sprite = self._sprites.get(
            ("outline", colour, whole), box.w, lambda pen: pen.frame(0.02, colour, 0.05, 0.16)
        )
        if whole:
            put(surface, sprite, box.x, box.y)
            return
        arm = max(3, box.w // 3)
        for x in (0, box.w - arm):
            for y in (0, box.h - arm):
                surface.blit(
                    sprite,
                    (box.x + x, box.y + y),
                    (x, y, arm, arm),
                    special_flags=pygame.BLEND_PREMULTIPLIED,
                )

    def _stock(self, surface: pygame.Surface, box: Box, stock: int) -> None:
        if box.w < STOCK_SHOWN:
            if stock == 0:
                pygame.draw.aacircle(surface, DANGER, (box.right - 3, box.bottom - 3), 2.5)
            return
        height = max(8.0, box.w * 0.2)
        text = str(stock)
        width = self._letters.width(text, height) + height * 0.7
        badge = pygame.Rect(0, 0, round(max(width, height * 1.3)), round(height * 1.3))
        badge.bottomright = (box.right - 1, box.bottom - 1)
        colour = INK if stock else DANGER
        pygame.draw.rect(surface, colour, badge, border_radius=badge.h // 2)
        middle = (badge.centerx, badge.centery + height * 0.08)
        self._letters.put(surface, text, middle, height, WHITE, "center")

    def _ties(self, surface: pygame.Surface, scene: Scene) -> None:
        """Draw rivalry in red and trust in green between residents, stronger is thicker."""
        centres = {r.slot: self._centre(r.x, r.y) for r in scene.residents}
        for tie in scene.trusts:
            if tie.strength >= TRUST_SHOWN:
                self._tie(surface, centres, tie, (TRUST, tie.strength, 0.07))
        for tie in scene.rivalries:
            if tie.strength >= RIVALRY_SHOWN:
                strength = tie.strength / max(scene.avoid, 1e-6)
                self._tie(surface, centres, tie, (RIVALRY, strength, -0.07))

    def _tie(
        self,
        surface: pygame.Surface,
        centres: dict[int, pygame.Vector2],
        tie: Tie,
        look: tuple[Colour, float, float],
    ) -> None:
        colour, strength, aside = look
        a, b = centres[tie.a], centres[tie.b]
        if a == b:
            return
        strength = min(1.0, strength)
        paint = blend(PAPER, colour, 0.3 + 0.6 * strength)
        width = max(1, round(self._geometry.token * (0.02 + 0.08 * strength)))
        # Beside the straight line, so that both ties of a pair are seen.
        shift = (b - a).normalize().rotate(90) * self._geometry.cell * aside
        pygame.draw.aaline(surface, paint, a + shift, b + shift, width)

    def _lines(self, surface: pygame.Surface, scene: Scene) -> None:
        """Draw a dotted line from everybody who waits to what they wait for."""
        places = {thing.number: self._centre(thing.x, thing.y, 0.5) for thing in scene.objects}
        for resident in scene.residents:
            wanted = resident.queue_object if resident.place != NONE else resident.reserved_object
            if wanted == NONE or resident.busy_object != NONE:
                continue
            begin, end = self._centre(resident.x, resident.y), places[wanted]
            # It ends at the edge of the object, so as not to cross its picture.
            end = begin.lerp(
                end, max(0.0, 1.0 - self._geometry.cell / (2 * (end - begin).length()))
            )
            length, dot = (end - begin).length(), max(1.0, self._geometry.cell * 0.035)
            count = max(1, round(length / (dot * 4.5)))
            for k in range(1, count):
                at = begin.lerp(end, k / count)
                pygame.draw.aacircle(surface, token_colour(resident.slot), at, dot)

    def _centre(self, x: int, y: int, height: float = 0.4) -> pygame.Vector2:
        box = self._geometry.cell_box(x, y)
        return pygame.Vector2(box.x + box.w / 2, box.y + box.h * height)
