// Size against quality, a point a tier, and the same as a table whose rows choose.

const tierName = (place) => report.tiers[place].title;

// Names beside points: where they cover nothing yet, first to the right, then left, above, below.
const pointNames = {
  id: "pointNames",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea } = chart;
    const points = chart.getDatasetMeta(0).data.map((point) => ({ x: point.x - 7, y: point.y - 7, w: 14, h: 14 }));
    const taken = [...points, ...(chart.named ?? [])];
    const free = (box) =>
      box.x >= chartArea.left && box.x + box.w <= chartArea.right && box.y >= chartArea.top - 8 &&
      box.y + box.h <= chartArea.bottom &&
      !taken.some((other) => box.x < other.x + other.w && other.x < box.x + box.w && box.y < other.y + other.h && other.y < box.y + box.h);
    ctx.save();
    ctx.textBaseline = "middle";
    // Those in front, the chosen, have the first pick.
    [...chart.getDatasetMeta(0).data.entries()].reverse().forEach(([index, point]) => {
      const raw = chart.data.datasets[0].data[index];
      const slot = slotOf(raw.tier);
      if (report.tiers[raw.tier].beaten && slot < 0) return;
      ctx.font = `${slot >= 0 ? "600 " : ""}12px ${Chart.defaults.font.family}`;
      const name = tierName(raw.tier);
      const w = ctx.measureText(name).width;
      const spots = [
        [point.x + 12, point.y - 7], [point.x - 12 - w, point.y - 7], [point.x - w / 2, point.y - 25], [point.x - w / 2, point.y + 11],
        [point.x - 6, point.y - 25], [point.x - 6, point.y + 11], [point.x + 10, point.y - 20], [point.x + 10, point.y + 6], [point.x - 10 - w, point.y - 20], [point.x - 10 - w, point.y + 6],
      ].map(([x, y]) => ({ x, y, w, h: 14 }));
      const spot = spots.find(free);
      if (!spot) return;
      taken.push(spot);
      ctx.fillStyle = slot >= 0 ? slotColour(slot) : ink("--ink");
      ctx.fillText(name, spot.x, spot.y + 7);
    });
    ctx.restore();
  },
};

// The teacher and the best baseline as lines across, each with its name at the edge. One that is far
// off is only named where it would be, or it would squeeze the tiers together.
const references = {
  id: "references",
  beforeDatasetsDraw(chart) {
    const { ctx, chartArea, scales } = chart;
    ctx.save();
    ctx.font = `12px ${Chart.defaults.font.family}`;
    ctx.textBaseline = "bottom";
    chart.named = referenceLines(byId("quality").value).map(({ value, name, text, dash }) => {
      const place = scales.y.getPixelForValue(value);
      const y = Math.min(Math.max(place, chartArea.top + 17), chartArea.bottom);
      const inside = place > chartArea.top - 1 && place < chartArea.bottom + 1;
      const said = inside ? name : `${place < y ? "↑" : "↓"} ${name}: ${text}`;
      ctx.strokeStyle = ctx.fillStyle = ink("--teacher");
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(chartArea.left, place);
      ctx.lineTo(chartArea.right, place);
      if (inside) ctx.stroke();
      ctx.fillText(said, chartArea.left + 6, y - 3, chartArea.right - chartArea.left - 12);
      return { x: chartArea.left + 6, y: y - 17, w: ctx.measureText(said).width, h: 14 };
    });
    ctx.restore();
  },
};

function referenceLines(quality) {
  // Of the baselines the one to beat.
  const { lower } = report.qualities.find((item) => item.key === quality);
  const known = report.baselines.filter((row) => row.figures[quality].value !== null);
  known.sort((a, b) => (b.figures[quality].value - a.figures[quality].value) * (lower ? -1 : 1));
  const lines = known.slice(0, 1).map((row) => ({ value: row.figures[quality].value, text: row.figures[quality].text, name: `baseline: ${row.name}`, dash: [2, 4] }));
  const teacher = report.teacher;
  if (teacher) {
    // A copy of the teacher would have this; of its own curves the teacher has no such figure.
    const own = { r2: 1, closure_f1: 100 }[quality] ?? teacher.figures[quality].value;
    lines.push({ value: own, text: String(own), name: `the teacher, ${teacher.bytes === null ? "no file" : teacher.size}`, dash: [6, 4] });
  }
  return lines.filter((line) => line.value !== null);
}

function drawOverview() {
  const select = byId("quality");
  if (!report.tiers.length) return;
  select.replaceChildren(...report.qualities.map((item) => new Option(item.label, item.key)));
  const canvas = byId("plot");
  fillList(select.value);
  fillWaits();
  const known = report.qualities.length > 0;
  for (const part of [select.parentElement.parentElement, byId("measured")]) part.hidden = !known;
  if (!known) return;
  const drawn = drawChart(canvas, () => overviewSettings(select.value));
  select.addEventListener("change", () => {
    redraw(drawn);
    fillList(select.value);
  });
  onChoice(() => redraw(drawn));
}

function overviewSettings(quality) {
  const { label, lower } = report.qualities.find((item) => item.key === quality);
  const points = report.tiers.flatMap((tier, place) => {
    const value = tier.figures[quality].value;
    return tier.bytes === null || value === null ? [] : [{ x: tier.bytes, y: value, tier: place }];
  });
  // The best in front, the chosen before all.
  points.sort((a, b) => rank(a.tier) - rank(b.tier));
  const own = points.map((point) => point.y);
  const spread = Math.max(...own) - Math.min(...own);
  const near = (value) => value <= Math.max(...own) + 2 * spread && value >= Math.min(...own) - 1.5 * spread;
  const values = [...own, ...referenceLines(quality).map((line) => line.value).filter((value) => near(value) || spread === 0)];
  const margin = 0.08 * (Math.max(...values) - Math.min(...values)) || 0.1;
  const sizes = points.map((point) => point.x);
  const colours = points.map((point) => (slotOf(point.tier) >= 0 ? slotColour(slotOf(point.tier)) : ink("--ink")));
  return {
    type: "scatter",
    plugins: [references, pointNames],
    data: {
      datasets: [{
        label,
        data: points,
        pointStyle: points.map((point) => shapeOf(report.tiers[point.tier].wait)),
        radius: points.map((point) => (slotOf(point.tier) >= 0 ? 9 : 7)),
        hoverRadius: 10,
        hitRadius: 12,
        borderWidth: 2,
        borderColor: colours,
        backgroundColor: points.map((point, index) => (report.tiers[point.tier].beaten && slotOf(point.tier) < 0 ? ink("--paper") : colours[index])),
      }],
    },
    options: {
      onClick: (_, found) => found.length && toggleTier(points[found[0].index].tier),
      onHover: (event, found) => { event.native.target.style.cursor = found.length ? "pointer" : "default"; },
      layout: { padding: { top: 6, right: 10 } },
      scales: {
        x: {
          type: "logarithmic",
          min: Math.min(...sizes) * 0.5,
          max: Math.max(...sizes) * 1.8,
          title: { display: true, text: "size of the file" },
          // Where there is little room only powers of ten.
          ticks: { callback(value) { return (this.chart.width < 520 ? /^10*$/ : /^[125]0*$/).test(value) ? bytesTick(value) : null; }, maxRotation: 0, autoSkip: false },
        },
        y: {
          min: Math.min(...values) - margin,
          max: Math.max(...values) + margin,
          reverse: lower,
          title: { display: true, text: label },
          ticks: { maxTicksLimit: 7, includeBounds: false },
        },
      },
      plugins: { tooltip: { displayColors: false, callbacks: { label: (item) => pointWords(item.raw.tier, quality) } } },
    },
  };
}

const rank = (place) => (slotOf(place) >= 0 ? 2 : report.tiers[place].beaten ? 0 : 1);

function pointWords(place, quality) {
  const tier = report.tiers[place];
  return [tier.title, `${tier.size}, waits ${tier.waits}`, `${report.qualities.find((q) => q.key === quality).label}: ${tier.figures[quality].text}`];
}

function fillList(quality) {
  const head = element("tr", {}, ...["Tier", "Size", "Waits", report.qualities.find((item) => item.key === quality)?.short ?? ""]
    .map((text, column) => element("th", { scope: "col", textContent: text, className: column ? "number" : "" })));
  const rows = report.tiers.map((tier, place) => {
    const button = element("button", { type: "button", textContent: tier.title });
    button.dataset.tier = place;
    const row = element("tr", { className: tier.beaten ? "dim" : "" }, element("th", { scope: "row" }, button), ...cells(tier.size, tier.waits, tier.figures[quality]?.text ?? ""));
    row.addEventListener("click", () => toggleTier(place));
    return row;
  });
  const others = [...(report.teacher ? [report.teacher] : []), ...report.baselines].map((row) =>
    element("tr", { className: "reference" }, element("th", { scope: "row", textContent: row.name }),
      ...cells(row.bytes === null ? "–" : row.size, "–", row.figures[quality]?.value == null ? "–" : row.figures[quality].text)));
  byId("list").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows, ...others));
  markTiers();
}

const cells = (...texts) => texts.map((text) => element("td", { className: "number", textContent: text }));

function fillWaits() {
  const outlines = {
    circle: ["circle", { cx: 14, cy: 7, r: 5 }],
    triangle: ["polygon", { points: "14,1 20,12 8,12" }],
    rect: ["rect", { x: 9, y: 2, width: 10, height: 10 }],
    rectRot: ["polygon", { points: "14,0 21,7 14,14 7,7" }],
  };
  byId("waits").replaceChildren(
    ...report.waits.slice(0, 4).map((wait) => {
      const [shape, as] = outlines[shapeOf(wait)];
      return element("li", {}, sample(ink("--soft"), { shape, as }), `waits ${wait} ms`);
    }),
    ...(report.waits.length > 4 ? [element("li", { textContent: "others wait longer" })] : []),
    ...(report.tiers.some((tier) => tier.beaten) ? [element("li", { textContent: "hollow: another tier beats it" })] : []),
  );
}
