// The timeline's cursor follows the player, and moves it.
(() => {
  const player = () => document.querySelector("#pa-player video");
  const line = () => document.querySelector(".pa-timeline");
  const clamp = (value, end) => Math.min(Math.max(value, 0), end);

  function show(seconds) {
    const timeline = line();
    if (!timeline) return;
    const end = Number(timeline.dataset.end);
    timeline.style.setProperty("--at", clamp(seconds / end, 1));
    timeline.setAttribute("aria-valuenow", seconds.toFixed(2));
  }
  function seek(seconds) {
    const video = player();
    if (!video || !line()) return;
    video.currentTime = clamp(seconds, Number(line().dataset.end));
    show(video.currentTime);
  }
  // Events of media do not bubble, but they can be caught on their way down.
  for (const event of ["timeupdate", "seeking"])
    document.addEventListener(event, (e) => { if (e.target === player()) show(e.target.currentTime); }, true);
  function follow() {
    const video = player();
    if (video && !video.paused) show(video.currentTime);
    requestAnimationFrame(follow);
  }
  requestAnimationFrame(follow);

  document.addEventListener("click", (e) => {
    const svg = e.target.closest?.(".pa-timeline")?.querySelector("svg");
    if (!svg) return;
    const box = svg.getBoundingClientRect();
    seek(((e.clientX - box.left) / box.width) * Number(line().dataset.end));
  });
  document.addEventListener("keydown", (e) => {
    if (!e.target.matches?.(".pa-timeline")) return;
    const step = { ArrowLeft: -0.2, ArrowDown: -0.2, ArrowRight: 0.2, ArrowUp: 0.2 }[e.key];
    const end = Number(e.target.dataset.end);
    if (step !== undefined) seek(player().currentTime + step);
    else if (e.key === "Home") seek(0);
    else if (e.key === "End") seek(end);
    else return;
    e.preventDefault();
  });
})();
