// Where it starts.

for (const card of document.querySelectorAll(".card")) {
  card.addEventListener("click", () => toggleTier(Number(card.dataset.tier)));
}
// A link to a folded section unfolds it.
function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", unfold);
unfold();

drawOverview();
drawRegions();
drawTraining();
startPlayer();
markTiers();
