// The page looks for news at its own server, and takes the new parts in; what was opened or sorted stays so.
(() => {
  "use strict";
  const ask = (path, options) => fetch(path + location.search, { cache: "no-store", ...options });
  const main = () => document.getElementById("main");
  const usable = () => [...main().querySelectorAll("button, summary, a, [tabindex]")];
  let stamp = document.getElementById("live").dataset.stamp;

  const kept = () => ({
    open: new Set([...main().querySelectorAll("details[open] > summary")].map((one) => place(one))),
    sorted: [...main().querySelectorAll("th[aria-sort]")].map((cell) => [
      cell.closest("table").caption.textContent, cell.cellIndex, cell.getAttribute("aria-sort"),
    ]),
    focus: usable().indexOf(document.activeElement),
    scroll: [scrollX, scrollY],
  });
  const place = (summary) => {
    const figure = summary.closest("figure, section");
    return `${figure ? figure.id : ""} ${summary.textContent}`;
  };
  const restore = (before) => {
    for (const one of main().querySelectorAll("summary")) if (before.open.has(place(one))) one.parentElement.open = true;
    for (const [words, column, order] of before.sorted) {
      const table = [...main().querySelectorAll("table.sortable")].find((one) => one.caption.textContent === words);
      if (table) window.gauntlet.tables.sort(table, column, order);
    }
    const focused = before.focus < 0 ? null : usable()[before.focus];
    if (focused) focused.focus({ preventScroll: true });
    scrollTo(...before.scroll);
  };
  const renew = async () => {
    const answer = await ask("/");
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = kept();
    main().replaceWith(document.adoptNode(fresh.getElementById("main")));
    const bar = document.getElementById("live");
    const pressed = bar.contains(document.activeElement) ? document.activeElement.id : "";
    bar.replaceWith(document.adoptNode(fresh.getElementById("live")));
    if (pressed) document.getElementById(pressed).focus();
    window.gauntlet.tables.prepare(main());
    window.gauntlet.plots.prepare(main());
    buttons();
    restore(before);
    stamp = document.getElementById("live").dataset.stamp;
  };
  const buttons = () => {
    for (const name of ["stop", "resume"]) {
      const button = document.getElementById(name);
      button.addEventListener("click", async () => {
        button.disabled = true;
        await ask(`/${name}`, { method: "POST" }).catch(() => {});
      });
    }
  };
  const look = async () => {
    let pause = 1;
    try {
      const answer = await ask("/state");
      const state = await answer.json();
      pause = state.pause;
      if (state.stamp !== stamp) await renew();
    } catch {
      document.getElementById("state").textContent = "The server has ended";
      pause = 5;
    }
    setTimeout(look, 1000 * pause);
  };
  buttons();
  look();
})();
