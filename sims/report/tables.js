// Tables that are sorted by a click, or a key, on a column's name: numbers by size, what has none last.
(() => {
  "use strict";
  const value = (row, column) => {
    const words = row.children[column].textContent.trim();
    const number = Number.parseFloat(words.replace(/,/g, ""));
    return { words, number: /^[-+]?[\d.]/.test(words) ? number : Number.NaN };
  };
  const compare = (a, b) => {
    const [left, right] = [Number.isNaN(a.number), Number.isNaN(b.number)];
    if (left && right) return a.words.localeCompare(b.words);
    return left || right ? left - right : a.number - b.number;
  };
  const sort = (table, column, order) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: value(row, column) }));
    const blank = (one) => one.key.words === "—" || one.key.words === "-" || one.key.words === "";
    const known = rows.filter((one) => !blank(one)).sort((a, b) => compare(a.key, b.key));
    if (order === "descending") known.reverse();
    body.append(...[...known, ...rows.filter(blank)].map((one) => one.row));
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      if (place === column) cell.setAttribute("aria-sort", order);
      else cell.removeAttribute("aria-sort");
    });
  };
  const prepare = (root) => {
    for (const table of root.querySelectorAll("table.sortable")) {
      [...table.tHead.rows[0].cells].forEach((cell, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...cell.childNodes);
        cell.append(button);
        button.addEventListener("click", () => {
          sort(table, column, cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
        });
      });
    }
  };
  window.gauntlet = { ...window.gauntlet, tables: { prepare, sort } };
  prepare(document);
})();
