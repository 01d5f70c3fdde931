// The camera: the newest picture is sent when there is an answer; two are on their way at once, so that the
// server computes while the browser encodes, sends and draws.
(() => {
  const SVG = "http://www.w3.org/2000/svg", COLOURS = 6, WINDOW = 20, DRAW_EVERY = 250, AT_ONCE = 2;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  let stopCamera = null;

  const make = (name, attributes, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // The picture is shown as in a mirror; what is sent is not mirrored.
  function drawBoxes(svg, faces, [width, height]) {
    const unit = Math.max(width, height) / 100;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren(...faces.map((face) => {
      const x = width - face.x - face.width, top = face.y > 5 * unit ? face.y - 5 * unit : face.y;
      const group = make("g", { class: `pa-c${face.face % COLOURS}` });
      group.append(
        make("rect", { class: "pa-box", x, y: face.y, width: face.width, height: face.height, rx: unit }),
        make("rect", { class: "pa-tag", x, y: top, width: 5 * unit, height: 5 * unit, rx: unit }),
        make("text", { x: x + 2.5 * unit, y: top + 3.8 * unit, "font-size": 3.6 * unit }, face.face));
      return group;
    }));
  }

  function drawTraces(place, targets, seen, now) {
    const faces = [...new Set(seen.flatMap((one) => one.faces.map((face) => face.face)))].sort((a, b) => a - b);
    if (!faces.length) {
      const note = document.createElement("p");
      note.className = "pa-note";
      note.textContent = "No face in sight.";
      place.replaceChildren(note);
      return;
    }
    const start = Math.max(now - WINDOW, 0);
    place.replaceChildren(...targets.map(({ name, ends, digits }) => {
      const values = ends ? [] : seen.flatMap((one) => one.faces.map((face) => face[name])).filter(Number.isFinite);
      const [low, high] = ends ?? [Math.min(...values) - 1e-9, Math.max(...values) + 1e-9];
      const row = document.createElement("div"), label = document.createElement("span");
      row.className = "pa-row";
      label.textContent = name;
      const svg = make("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
      svg.append(make("line", { class: "pa-base", x1: 0, y1: 50, x2: 1000, y2: 50 }));
      const latest = document.createElement("span");
      latest.className = "pa-latest";
      for (const face of faces) {
        let path = "", last;
        for (const one of seen) {
          const value = one.faces.find((other) => other.face === face)?.[name];
          if (!Number.isFinite(value)) continue;
          const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
          path += `${path ? "L" : "M"}${(1000 * (one.at - start) / WINDOW).toFixed(1)} ${(100 * (1 - share)).toFixed(1)}`;
          last = value;
        }
        if (last === undefined) continue;
        svg.append(make("path", { class: `pa-line pa-c${face % COLOURS}`, d: path }));
        const output = document.createElement("output");
        output.className = `pa-c${face % COLOURS}`;
        Object.assign(output.dataset, { face, target: name, value: last });
        output.textContent = digits === null ? last.toPrecision(3) : last.toFixed(digits);
        latest.append(output);
      }
      row.append(label, svg, latest);
      return row;
    }));
  }

  async function run(box) {
    const find = (selector) => box.querySelector(selector);
    const [video, svg, button, rate, traces, size] = ["video", "svg.pa-boxes", "[data-camera=start]",
      ".pa-rate", ".pa-camera-traces", "[data-camera=size]"].map(find);
    const [width, height] = size.value.split(" x ").map(Number);
    const say = (text) => { rate.textContent = text; };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width, height }, audio: false });
    } catch (error) {
      say(`The camera cannot be used: ${error.message}. Pages at http://localhost and https:// may ask for it.`);
      return;
    }
    const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
    const url = `persona_affect/camera?camera=${name}`;
    let running = true, shown = 0;
    stopCamera = () => {
      running = false;
      stopCamera = null;
      for (const track of stream.getTracks()) track.stop();
      navigator.sendBeacon(url, "");
      video.srcObject = null;
      svg.replaceChildren();
      button.textContent = "Start the camera";
      say("");
    };
    button.textContent = "Stop the camera";
    video.srcObject = stream;
    await video.play();
    if (!running) return;
    const count = () => { shown += 1; if (running) video.requestVideoFrameCallback?.(count); };
    video.requestVideoFrameCallback?.(count);

    const began = performance.now();
    let seen = [], done = [], drawn = 0, sent = 0, last = -1;
    const send = async () => {
      const canvas = document.createElement("canvas");
      while (running && box.isConnected) {
        // Never the same picture twice.
        if (video.currentTime === last) { await new Promise(requestAnimationFrame); continue; }
        last = video.currentTime;
        Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
        canvas.getContext("2d").drawImage(video, 0, 0);
        const picture = await new Promise((have) => canvas.toBlob(have, "image/jpeg", 0.85));
        let answer;
        try {
          answer = await fetch(url, { method: "POST", body: picture });
        } catch {
          say("The server does not answer.");
          await pause(1000);
          continue;
        }
        if (!running) return;
        if (answer.status !== 200) {
          const text = await answer.text();
          try { say(JSON.parse(text).error); } catch { say(text); }
          await pause(1000);
          continue;
        }
        const { faces, size: picturesSize } = await answer.json();
        if (!running) return;
        const now = performance.now(), at = (now - began) / 1000;
        sent += 1;
        seen.push({ at, faces });
        done.push(now);
        while (at - seen[0].at > WINDOW) seen.shift();
        while (now - done[0] > 5000) done.shift();
        drawBoxes(svg, faces, picturesSize);
        if (now - drawn < DRAW_EVERY) continue;
        drawn = now;
        drawTraces(traces, targetsOf(box), seen, at);
        const speed = done.length > 1 ? 1000 * (done.length - 1) / (now - done[0]) : 0;
        Object.assign(rate.dataset, { rate: speed.toFixed(2), seen: sent });
        const dropped = Math.max(shown - sent, 0);
        say(`${speed.toFixed(1)} predictions a second, ${picturesSize.join(" x ")}; ${dropped} of ${Math.max(shown, sent)} pictures dropped`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, send));
    if (running) stopCamera?.();
  }
  const targetsOf = (box) => JSON.parse(box.dataset.targets);

  document.addEventListener("click", (e) => {
    const button = e.target.closest?.("[data-camera=start]");
    if (!button) return;
    if (stopCamera) stopCamera();
    else run(button.closest(".pa-camera"));
  });
  document.addEventListener("change", (e) => {
    if (!e.target.matches?.("[data-camera=size]") || !stopCamera) return;
    stopCamera();
    run(e.target.closest(".pa-camera"));
  });
  addEventListener("pagehide", () => stopCamera?.());
})();
