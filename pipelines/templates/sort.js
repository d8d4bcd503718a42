"use strict";
// Sorts a table by the column whose heading is pressed, what has no value last; without a script it stays in its order.
const collator = new Intl.Collator(undefined, { numeric: true });
function keyOf(cell, numeric) {
  const text = cell.textContent.trim();
  if (!numeric) return text;
  const value = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(value) ? null : value;
}
function compare(one, other, numeric, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (numeric ? one - other : collator.compare(one, other));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const numeric = heading.classList.contains("number");
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [keyOf(row.cells[column], numeric), row]);
      keyed.sort(([one], [other]) => compare(one, other, numeric, sign));
      body.remove(); // rows that move within the page are laid out one by one
      body.append(...keyed.map(([, row]) => row));
      table.append(body);
    });
  });
}
