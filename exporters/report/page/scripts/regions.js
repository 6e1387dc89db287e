// How far each part of the face is from the teacher's, a bar a chosen tier.

function drawRegions() {
  const known = report.regions.length > 0;
  byId("regions-none").hidden = known;
  byId("regions-plot").hidden = !known;
  if (!known) return;
  const drawn = drawChart(byId("bars"), regionSettings);
  onChoice(() => redraw(drawn));
}

function regionSettings() {
  const names = ({ tier }) => report.tiers[tier].regions;
  return {
    type: "bar",
    data: {
      labels: report.regions,
      datasets: chosenTiers().map((chosen) => ({
        label: tierName(chosen.tier),
        data: names(chosen),
        backgroundColor: slotColour(chosen.slot),
        borderRadius: 4,
        maxBarThickness: 22,
      })),
    },
    options: {
      indexAxis: "y",
      scales: {
        x: { beginAtZero: true, title: { display: true, text: "root mean square error (rig units)" }, ticks: { maxTicksLimit: 6 } },
        y: { grid: { display: false } },
      },
      plugins: {
        legend: { display: true, position: "bottom", labels: { boxWidth: 14, boxHeight: 14 } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${Number(item.raw).toPrecision(3)}` } },
      },
    },
  };
}
