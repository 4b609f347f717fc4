// The panel of opskit.watch. Everything that is data becomes text, never markup.

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
}

// *press* makes the button of a row that has an action of its own.
function table(rows, columns, empty, press) {
  if (!rows.length) return element("p", empty, { class: "opskit-quiet" });
  const made = element("table"), head = element("tr");
  for (const title of Object.values(columns)) head.append(element("th", title));
  made.append(head);
  for (const row of rows) {
    const line = element("tr");
    for (const key of Object.keys(columns)) {
      const cell = element("td");
      if (key === "share" && row.share !== null && row.share !== undefined) {
        cell.append(element("progress", "", { max: 100, value: row.share }), ` ${row.share} %`);
      } else if (key === "what" && row.link) {
        cell.append(element("a", row.what, { href: row.link, target: "_blank", rel: "noopener", title: "its runbook" }));
      } else if (key === "action") {
        const made = row.action && press(row.action);
        if (made) cell.append(made);
      } else cell.textContent = row[key] === null || row[key] === undefined ? "–" : String(row[key]);
      line.append(cell);
    }
    made.append(line);
  }
  return made;
}

function render({ model, el }) {
  // Which action waits for its second press, and what it would act on as it was shown then.
  let asked = null, heard = Date.now();

  function button(action) {
    const armed = asked && asked.key === action.key;
    const made = element("button", armed ? `${asked.confirm} – press again` : action.label, {
      type: "button", "data-key": action.key, class: armed ? "opskit-armed" : "",
    });
    made.disabled = !model.get("state").may_act;
    if (made.disabled) made.title = model.get("state").may_not;
    made.addEventListener("click", () => {
      if (asked && asked.key === action.key) {
        model.send({ key: asked.key, verb: asked.verb, values: asked.values });
        asked = null;
      } else asked = action;
      draw();
    });
    return made;
  }

  function draw() {
    const state = model.get("state"), parts = [];
    const focused = el.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const head = element("div", undefined, { class: "opskit-head" });
    head.append(element("b", state.env, { class: state.env === "production" ? "opskit-production" : "opskit-badge" }));
    head.append(element("span", state.table), element("span", state.as_of, { class: "opskit-quiet" }));
    const silent = Math.round((Date.now() - heard) / 1000);
    const still = state.away || (state.stopped ? "stopped" : silent > 10 ? `no news for ${silent} s: is the kernel busy or gone?` : "");
    if (still) head.append(element("span", still, { class: "opskit-away", role: "status" }));
    parts.push(head);
    const chips = element("div");
    for (const [name, count] of state.chips) chips.append(element("span", `${count} ${name}`, { class: `opskit-chip opskit-${name}` }));
    if (state.forecast) chips.append(element("span", state.forecast, { class: "opskit-quiet" }));
    parts.push(chips);
    if (state.said) parts.push(element("p", state.said, { class: "opskit-said", role: "status" }));
    const section = (title, actions, content) => {
      const line = element("div", undefined, { class: "opskit-title" });
      line.append(element("strong", title), ...actions.map(button));
      parts.push(line, content);
    };
    const press = (key) => {
      const action = state.actions.find((one) => one.key === key);
      return action && button(action);
    };
    const of = (group) => state.actions.filter((action) => action.group === group);
    section("What needs a person", [], table(state.needs, { level: "level", what: "what", mend: "mend" }, "nothing: all is well"));
    section("Claims that nobody works on", of("claims"), table(state.claims, { file: "file", server: "server", minutes: "min", verdict: "verdict" }, "none"));
    section("Nodes", of("nodes"), table(state.nodes, { server: "server", state: "state", file: "file", share: "progress", minutes: "min", action: "" }, "no nodes are registered", press));
    section("Failures", of("failures"), table(state.failures, { error: "error", files: "files", latest: "latest" }, "no file has failed"));
    section("What ended badly last", [], table(state.ended, { at: "at", file: "file", server: "server", said: "said" }, "nothing"));
    section("What attempts said last", [], table(state.lines, { at: "at", file: "file", server: "server", said: "said" }, state.unread || "nothing"));
    el.replaceChildren(...parts);
    el.classList.toggle("opskit-still", Boolean(still));
    if (focused) el.querySelector(`button[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  el.classList.add("opskit-watch");
  const news = () => {
    heard = Date.now();
    // What the first press named has changed or gone: it must be named anew.
    if (asked) {
      const now = model.get("state").actions.find((action) => action.key === asked.key);
      if (!now || JSON.stringify(now) !== JSON.stringify(asked)) asked = null;
    }
    draw();
  };
  model.on("change:state", news);
  const clock = setInterval(draw, 5000);
  draw();
  return () => { clearInterval(clock); model.off("change:state", news); };
}

export default { render };
