// The leaderboard: a heat map of one setting, and its rows, sorted by any column. Needs no network.
(() => {
  const { settings, tables } = JSON.parse(document.getElementById("leaderboard-numbers").textContent);
  const home = document.getElementById("leaderboard-home");
  const VALUES = {
    accuracy: "accuracy after the last round",
    best_accuracy: "accuracy in the best round",
    drop: "accuracy lost to the attack",
    attack_success_rate: "attack success rate",
    recall: "malicious updates flagged",
    false_positive_rate: "honest updates flagged",
  };
  const BAD_IF_HIGH = ["drop", "attack_success_rate", "false_positive_rate"];
  const state = { table: Object.keys(tables)[0], value: "accuracy", by: "accuracy", up: true, defense: "", attack: "" };

  const make = (tag, text, into, keys = {}) => {
    const found = Object.assign(document.createElement(tag), keys);
    if (text !== null) found.textContent = text;
    into.append(found);
    return found;
  };
  const rows = () => {
    const columns = tables[state.table];
    return columns.defense.map((_, n) => Object.fromEntries(Object.keys(columns).map((c) => [c, columns[c][n]])));
  };
  const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1));
  const quoted = (value) => (/^[\w=.-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`);
  const unique = (name) => [...new Set(tables[state.table][name])];
  const command = (row) => {
    const attack = row.attack === "no attack" ? unique("attack").find((a) => a !== "no attack") : row.attack; // beside any
    const which = ["--only", `defense=${row.defense}`, "--only", `attack=${attack}`];
    return ["gauntlet", "matrix", "leaderboard", ...settings[state.table][1], ...which].map(quoted).join(" ");
  };
  const colour = (value) => {
    if (value === null) return "transparent";
    const good = Math.max(0, Math.min(1, BAD_IF_HIGH.includes(state.value) ? 1 - value : value));
    return `hsl(${Math.round(10 + 110 * good)} 65% ${Math.round(82 - 14 * Math.abs(good - 0.5))}%)`;
  };

  const choice = (key, names, into, label) => {
    const box = make("label", `${label} `, into);
    const select = make("select", null, box, { ariaLabel: label });
    for (const [value, text] of names) make("option", text, select, { value, selected: value === state[key] });
    select.onchange = () => { state[key] = select.value; draw(); };
  };

  function draw() {
    home.replaceChildren();
    const bar = make("p", null, home, { className: "leaderboard-bar" });
    choice("table", Object.keys(tables).map((t) => [t, settings[t][0]]), bar, "setting");
    choice("value", Object.entries(VALUES), bar, "number");
    choice("defense", [["", "all"], ...unique("defense").map((d) => [d, d])], bar, "defense");
    choice("attack", [["", "all"], ...unique("attack").map((a) => [a, a])], bar, "attack");
    const said = make("p", "A field's command stands here once it is chosen.", home, { className: "leaderboard-said" });
    const show = (row) => {
      said.replaceChildren();
      make("code", command(row), said);
    };
    const shown = rows().filter((r) => (!state.defense || r.defense === state.defense) && (!state.attack || r.attack === state.attack));
    heatMap(shown, show);
    list(shown, show);
  }

  function heatMap(shown, show) {
    const attacks = [...new Set(shown.map((r) => r.attack))];
    const fields = new Map(shown.map((r) => [`${r.defense}\n${r.attack}`, r]));
    const scroll = make("div", null, home, { className: "leaderboard-scroll" });
    const table = make("table", null, scroll, { className: "leaderboard-map" });
    const head = make("tr", null, make("thead", null, table));
    make("th", "", head);
    for (const attack of attacks) make("span", attack, make("th", null, head, { scope: "col" }));
    const body = make("tbody", null, table);
    for (const defense of new Set(shown.map((r) => r.defense))) {
      const line = make("tr", null, body);
      make("th", defense, line, { scope: "row" });
      for (const attack of attacks) {
        const row = fields.get(`${defense}\n${attack}`);
        const value = row ? row[state.value] ?? null : null;
        const cell = make("td", percent(value), line);
        cell.style.background = colour(value);
        if (row) {
          cell.title = `${defense}, ${attack}`;
          cell.onclick = () => show(row);
        }
      }
    }
  }

  function list(shown, show) {
    const columns = ["defense", "attack", ...Object.keys(VALUES)];
    const order = (a, b) => {
      const [x, y] = [a[state.by], b[state.by]];
      if (x === y) return 0;
      if (x === null || y === null) return x === null ? 1 : -1;
      return (x < y ? -1 : 1) * (state.up ? 1 : -1);
    };
    const scroll = make("div", null, home, { className: "leaderboard-scroll leaderboard-rows" });
    const table = make("table", null, scroll, { className: "leaderboard-list" });
    const head = make("tr", null, make("thead", null, table));
    for (const name of columns) {
      const cell = make("th", null, head, { scope: "col", ariaSort: name === state.by ? (state.up ? "ascending" : "descending") : "none" });
      const mark = name === state.by ? (state.up ? " ▲" : " ▼") : "";
      const button = make("button", `${VALUES[name] || name}${mark}`, cell, { type: "button" });
      button.onclick = () => { state.up = name === state.by ? !state.up : true; state.by = name; draw(); };
    }
    make("th", "command", head);
    const body = make("tbody", null, table);
    for (const row of shown.sort(order)) {
      const line = make("tr", null, body);
      line.onclick = () => show(row);
      for (const name of columns) make("td", name in VALUES ? percent(row[name] ?? null) : row[name], line);
      make("code", command(row), make("td", null, line));
    }
  }
  draw();
})();
