"use strict";
// Draws the charts that the page carries as data, and fits them to paper before printing.
const PAPER_WIDE = 660, PAPER_HALF = 325;
const specs = JSON.parse(document.getElementById("charts").textContent);
const options = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
};
const drawn = [];
for (const holder of document.querySelectorAll("[data-chart]")) {
  const { data, layout } = specs[Number(holder.dataset.chart)];
  Plotly.newPlot(holder, data, layout, options);
  drawn.push(holder);
}
window.addEventListener("beforeprint", () => {
  for (const holder of drawn) {
    const width = holder.closest("figure").classList.contains("wide") ? PAPER_WIDE : PAPER_HALF;
    Plotly.relayout(holder, { width });
  }
});
window.addEventListener("afterprint", () => {
  for (const holder of drawn) Plotly.relayout(holder, { width: null, autosize: true });
});
document.documentElement.dataset.drawn = String(drawn.length);
