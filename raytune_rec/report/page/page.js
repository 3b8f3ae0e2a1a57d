"use strict";
/* Tables that sort by a click on a head, and charts that tell the nearest value. Without it the page lacks these alone. */
(() => {
  const seconds = { s: 1, min: 60, h: 3600 };
  const own = cell => [...cell.childNodes].filter(node => node.nodeType === 3).map(node => node.data).join("").trim();
  const number = text => {
    const found = /^(<?) ?([+\u2212-]?)([\d\u202f]+(?:\.\d+)?(?:e[+-]?\d+)?)(?: (s|min|h|%)| to .*)?$/.exec(text);
    if (!found) return null;
    const size = Number(found[3].replaceAll("\u202f", "")) * (seconds[found[4]] ?? 1);
    return (found[2] && found[2] !== "+" ? -size : size) - (found[1] ? 1e-9 : 0);
  };

  const sort = (table, column, way) => {
    const body = table.tBodies[0];
    const lines = [...body.rows].map(row => ({ row, text: own(row.cells[column]), place: Number(row.dataset.place) }));
    const there = lines.filter(line => line.text !== "\u2013" && line.text !== "");
    const numeric = there.length > 0 && there.every(line => number(line.text) !== null);
    const compare = (a, b) => (numeric ? number(a.text) - number(b.text) : a.text.localeCompare(b.text));
    if (way === "none") there.sort((a, b) => a.place - b.place);
    else there.sort((a, b) => (way === "ascending" ? compare(a, b) : compare(b, a)) || a.place - b.place);
    const order = way === "none" ? lines.sort((a, b) => a.place - b.place) : [...there, ...lines.filter(l => !there.includes(l))];
    body.append(...order.map(line => line.row));
    return numeric;
  };

  const next = (head, column, table) => {
    const now = head.getAttribute("aria-sort") ?? "none";
    if (now !== "none") return head.dataset.first === now ? (now === "ascending" ? "descending" : "ascending") : "none";
    head.dataset.first = sort(table, column, "none") ? "descending" : "ascending";
    return head.dataset.first;
  };

  for (const table of document.querySelectorAll("table")) {
    [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((head, column, heads) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const way = next(head, column, table);
        for (const each of heads) each.removeAttribute("aria-sort");
        if (way !== "none") head.setAttribute("aria-sort", way);
        sort(table, column, way);
      });
    });
  }

  const tip = document.querySelector(".tip");
  const near = 18;
  for (const svg of document.querySelectorAll("svg[data-tips]")) {
    let points = null;
    const tell = event => {
      points ??= svg.dataset.tips.split("\n").map(line => /^(\S+) (\S+) (.*)$/.exec(line).slice(1));
      const box = svg.getBoundingClientRect();
      const scale = box.width / svg.viewBox.baseVal.width;
      const away = ([x, y]) => Math.hypot(box.left + x * scale - event.clientX, box.top + y * scale - event.clientY);
      const closest = points.reduce((best, point) => (away(point) < away(best) ? point : best));
      tip.hidden = away(closest) > near;
      if (tip.hidden) return;
      tip.textContent = closest[2];
      const left = box.left + closest[0] * scale + 10;
      tip.style.left = `${Math.max(4, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${box.top + closest[1] * scale - tip.offsetHeight - 8}px`;
    };
    svg.addEventListener("pointermove", tell);
    svg.addEventListener("pointerdown", tell);
    svg.addEventListener("pointerleave", () => (tip.hidden = true));
  }
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
})();
