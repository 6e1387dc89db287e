// Losses over the steps of training, and R² on clips set aside beside them.

const TERM_DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
const TERM_COLOURS = ["--one", "--two", "--three", "--soft"];

// Drawn when first unfolded: a folded canvas has no size.
function drawTraining() {
  const fold = byId("training");
  const canvases = [...fold.querySelectorAll("canvas.training")];
  fold.addEventListener("toggle", () => {
    canvases.splice(0).forEach((canvas, place) => drawChart(canvas, () => trainingSettings(report.training[place])));
  });
}

function trainingSettings(training) {
  const terms = Object.entries(training.losses);
  const line = (label, values, index, axis) => ({
    label,
    data: values.map((y, point) => ({ x: training.steps[point], y })).filter((point) => point.y !== null),
    yAxisID: axis,
    borderColor: axis === "r2" ? ink("--ink") : ink(TERM_COLOURS[index % TERM_COLOURS.length]),
    borderDash: axis === "r2" ? [] : TERM_DASHES[index % TERM_DASHES.length],
    borderWidth: 2,
    pointRadius: axis === "r2" ? 3 : 0,
    pointBackgroundColor: ink("--ink"),
  });
  const judged = training.r2.some((value) => value !== null);
  const positive = terms.every(([, values]) => values.every((value) => value === null || value > 0));
  return {
    type: "line",
    data: {
      datasets: [
        ...terms.map(([name, values], index) => line(`${name.replaceAll("_", " ")} loss`, values, index, "loss")),
        ...(judged ? [line("R² on clips set aside", training.r2, 0, "r2")] : []),
      ],
    },
    options: {
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: { type: "linear", title: { display: true, text: "optimiser step" }, max: training.steps.at(-1) },
        loss: { type: positive ? "logarithmic" : "linear", title: { display: true, text: "loss on training speech" }, ticks: { maxTicksLimit: 6 } },
        ...(judged ? { r2: { position: "right", title: { display: true, text: "R²" }, grid: { drawOnChartArea: false } } } : {}),
      },
      plugins: { legend: { display: true, position: "bottom", labels: { boxWidth: 26, boxHeight: 1 } } },
    },
  };
}
