// A photo's faces can be picked; many photos are sent one by one, and become a table.
(() => {
  // Shows one face of a report, or the table that compares all.
  function pick(report, face) {
    for (const part of report.querySelectorAll("[data-of]")) part.hidden = part.dataset.of !== face;
    for (const button of report.querySelectorAll("button[data-pick]"))
      button.setAttribute("aria-pressed", button.dataset.pick === face);
    for (const mark of report.querySelectorAll("g[data-pick]"))
      mark.classList.toggle("pa-faint", face !== "all" && mark.dataset.pick !== face);
  }
  document.addEventListener("click", (e) => {
    const chosen = e.target.closest?.("[data-pick]"), report = chosen?.closest(".pa-report");
    if (report?.querySelector(".pa-picks")) pick(report, chosen.dataset.pick);
  });

  const PARALLEL = 2, SHOWN = 200;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  let round = 0, saved = null;

  async function predict(file) {
    for (;;) {
      const answer = await fetch("persona_affect/photo", { method: "POST", body: file });
      if (answer.status === 503) { await pause(1000); continue; }
      const text = await answer.text();
      if (answer.status === 200) return JSON.parse(text).faces;
      let why = text;
      try { why = JSON.parse(text).error; } catch { /* a refusal in plain words */ }
      throw new Error(why);
    }
  }
  const quote = (cell) => /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;

  async function predictAll(box, files) {
    const mine = ++round, columns = JSON.parse(box.dataset.columns);
    const find = (selector) => box.querySelector(selector);
    const [bar, said, stop, save, scroll] = ["progress", "[role=status]", "[data-many=stop]",
      "[data-many=save]", ".pa-scroll"].map(find);
    const rows = files.map(() => null);
    let done = 0, failed = 0, next = 0;
    bar.max = files.length; bar.value = 0;
    bar.hidden = stop.hidden = scroll.hidden = false; save.hidden = true;
    find("thead").innerHTML = find("tbody").innerHTML = "";
    const shown = ["photo", ...columns.filter((name) => !["x", "y", "width", "height", "confidence"].includes(name))];
    line(find("thead"), "th", shown);
    say();
    function say() {
      const faults = failed ? `, ${failed} could not be used` : "";
      said.textContent = `${done} of ${files.length} photos${faults}.`;
    }
    function line(part, kind, cells) {
      const row = part.insertRow();
      for (const text of cells) {
        const cell = document.createElement(kind);
        cell.textContent = text;
        row.append(cell);
      }
    }
    async function work() {
      while (next < files.length && mine === round) {
        const at = next++, name = files[at].webkitRelativePath || files[at].name;
        let found, why = "";
        try {
          found = await predict(files[at]);
          if (!found.length) why = "no face found.";
        } catch (error) { why = error.message; }
        if (mine !== round) return;
        if (why) { failed += 1; found = [{}]; }
        rows[at] = found.map((face) => [name, ...columns.map((column) => face[column] ?? ""), why]);
        for (const face of found)
          if (find("tbody").rows.length < SHOWN)
            line(find("tbody"), "td", [name, ...shown.slice(1).map((column) => why && column === "face" ? why : write(face[column]))]);
        bar.value = ++done;
        say();
      }
    }
    const write = (value) => value === undefined ? "" : typeof value === "string" || Number.isInteger(value) ? value : value.toPrecision(3);
    stop.onclick = () => { round += 1; finish(); };
    function finish() {
      stop.hidden = true;
      const table = [["photo", ...columns, "error"], ...rows.filter(Boolean).flat()];
      const csv = table.map((row) => row.map((cell) => quote(String(cell))).join(",")).join("\r\n");
      if (saved) URL.revokeObjectURL(saved);
      save.href = saved = URL.createObjectURL(new Blob([csv + "\r\n"], { type: "text/csv" }));
      save.hidden = false;
    }
    await Promise.all(Array.from({ length: PARALLEL }, work));
    if (mine === round) finish();
  }
  document.addEventListener("change", (e) => {
    const box = e.target.closest?.(".pa-many");
    if (!box || !e.target.files?.length) return;
    predictAll(box, [...e.target.files]);
    e.target.value = "";
  });
})();
