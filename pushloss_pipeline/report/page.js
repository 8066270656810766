(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("report-data").textContent);
  const articles = [...document.querySelectorAll("article[data-part]")];
  const choice = document.getElementById("app");
  const announcement = document.querySelector(".status");
  const HASH = "#app=";
  let drawn = [];
  let shown = null;

  document.documentElement.classList.add("js");

  // The chosen app is in the address: #app=shop; without it, all apps together.
  function partInAddress() {
    if (!location.hash.startsWith(HASH)) return 0;
    let name;
    try {
      name = decodeURIComponent(location.hash.slice(HASH.length));
    } catch {
      return 0;
    }
    return Math.max(0, data.parts.findIndex((part) => part.app === name));
  }

  function addressOf(number) {
    const { app } = data.parts[number];
    const bare = location.pathname + location.search;
    return app === null ? bare : HASH + encodeURIComponent(app);
  }

  function show(number) {
    if (number === shown) return;
    shown = number;
    for (const article of articles) article.hidden = article !== articles[number];
    choice.value = String(number);
    drawCharts(number);
  }

  // Only the charts in sight exist: twenty apps cost no more than one.
  function drawCharts(number) {
    for (const chart of drawn) chart.then((result) => result.finalize(), () => {});
    drawn = [...articles[number].querySelectorAll("[data-chart]")].map((place) =>
      drawChart(place, data.parts[number].charts[place.dataset.chart]),
    );
  }

  async function drawChart(place, contents) {
    delete place.dataset.drawn;
    const canvas = document.createElement("div");
    place.replaceChildren(canvas);
    const spec = { ...data.specs[place.dataset.chart], ...contents };
    const result = await vegaEmbed(canvas, spec, {
      mode: "vega-lite",
      renderer: "svg",
      ast: true, // expressions are interpreted: the page forbids eval
      actions: false,
      defaultStyle: false,
      tooltip: { theme: "page", disableDefaultStyle: true },
    });
    place.dataset.drawn = "yes";
    return result;
  }

  // A cell of a copied table: the bare number, the ISO date, or its text.
  function textOf(cell) {
    const exact = cell.querySelector("data, time");
    const text = exact ? exact.value ?? exact.dateTime : cell.textContent;
    const bare = text.replace(/\s+/g, " ").trim();
    // A spreadsheet must not take a text for a formula.
    return !exact && /^([=@]|[+-](?!\d))/.test(bare) ? `'${bare}` : bare;
  }

  function textsOf(cell) {
    const parts = [...cell.querySelectorAll("[data-part]")];
    return parts.length ? parts.map(textOf).filter(Boolean).join("; ") : textOf(cell);
  }

  function asTabbedText(table) {
    const line = (row) => [...row.cells].map(textsOf).join("\t");
    return [...table.rows].map(line).join("\n");
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Not every browser lets a file use the clipboard's own interface.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  async function copyTable(button) {
    const table = button.closest(".block, details").querySelector("table");
    await copy(asTabbedText(table));
    announcement.textContent = `Copied: ${table.caption.textContent}`;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  function showAllRows(button) {
    const place = button.closest(".block") ?? button.parentElement.previousElementSibling;
    place.classList.add("expanded");
    button.remove();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("copy" in button.dataset) copyTable(button);
    if ("more" in button.dataset) showAllRows(button);
  });

  if (choice) {
    choice.addEventListener("change", () => {
      history.pushState(null, "", addressOf(Number(choice.value)));
      show(Number(choice.value));
    });
    const follow = () => {
      if (location.hash === "" || location.hash.startsWith(HASH)) {
        if (shown !== partInAddress()) scrollTo(0, 0);
        show(partInAddress());
      }
    };
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    show(partInAddress());
  }
})();
