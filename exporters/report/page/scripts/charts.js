// What all charts share: colours that a colour-blind reader can tell apart, dashes, shapes, no motion.

const SLOT_COLOURS = ["--one", "--two", "--three"];
const SLOT_DASHES = [[], [7, 4], [2, 3]];
const SHAPES = ["circle", "triangle", "rect", "rectRot", "star", "crossRot"];
const charts = new Set();

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const slotColour = (slot) => ink(slot === "teacher" ? "--teacher" : SLOT_COLOURS[slot]);
// A wait's shape; those that wait longest may share the last.
const shapeOf = (wait) => SHAPES[Math.min(Math.max(report.waits.indexOf(wait), 0), SHAPES.length - 1)];

Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.plugins.legend.display = false;

function applyTheme() {
  Chart.defaults.color = ink("--soft");
  Chart.defaults.borderColor = ink("--line");
}

// A chart whose settings are made anew by `settings()`, as a change of colours asks for.
function drawChart(canvas, settings) {
  applyTheme();
  const drawn = { canvas, settings, chart: new Chart(canvas, settings()) };
  charts.add(drawn);
  return drawn;
}

function redraw(drawn) {
  const made = drawn.settings();
  drawn.chart.data = made.data;
  drawn.chart.options = made.options;
  drawn.chart.update("none");
}

function dropChart(drawn) {
  drawn.chart.destroy();
  charts.delete(drawn);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  applyTheme();
  charts.forEach(redraw);
});

const bytesTick = (value) => (value >= 1e6 ? `${value / 1e6} MB` : value >= 1e3 ? `${value / 1e3} kB` : `${value} B`);

// A sample of a line or a point for a key, in the words beside it.
function sample(colour, content) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("width", "28");
  svg.setAttribute("height", "14");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS(space, content.shape);
  for (const [name, value] of Object.entries(content.as)) drawn.setAttribute(name, value);
  drawn.setAttribute(content.shape === "line" ? "stroke" : "fill", colour);
  svg.append(drawn);
  return svg;
}
