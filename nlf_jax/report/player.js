"use strict";
// Plays the notes of a piano roll: [pitch (MIDI), first frame, frame after the last] each.
let stop = () => {};
let audio = null;

function strike(out, pitch, start, end) {
  const tone = audio.createOscillator();
  const level = audio.createGain();
  tone.type = "triangle";
  tone.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
  level.gain.setValueAtTime(0, start);
  level.gain.linearRampToValueAtTime(0.22, start + 0.008);
  level.gain.setTargetAtTime(0.05, start + 0.008, 0.5);
  level.gain.setTargetAtTime(0, end, 0.05);
  tone.connect(level).connect(out);
  tone.start(start);
  tone.stop(end + 0.4);
}

function play(player, button) {
  audio = audio || new AudioContext();
  audio.resume();
  const seconds = Number(player.dataset.seconds);
  const duration = Number(player.dataset.frames) * seconds;
  const [left, right] = [Number(player.dataset.left), Number(player.dataset.right)];
  const out = audio.createDynamicsCompressor();
  out.connect(audio.destination);
  const begin = audio.currentTime + 0.1;
  for (const [pitch, first, past] of JSON.parse(player.dataset.notes)) {
    strike(out, pitch, begin + first * seconds, begin + past * seconds);
  }
  const cursor = player.querySelector(".cursor");
  const move = () => {
    const done = Math.max(0, audio.currentTime - begin) / duration;
    if (done >= 1) return stop();
    cursor.style.left = `${100 * (left + (right - left) * done)}%`;
    frame = requestAnimationFrame(move);
  };
  let frame = requestAnimationFrame(move);
  player.classList.add("playing");
  button.textContent = "Stop";
  stop = () => {
    cancelAnimationFrame(frame);
    out.disconnect();
    player.classList.remove("playing");
    button.textContent = "Play";
    stop = () => {};
  };
}

for (const player of document.querySelectorAll("[data-notes]")) {
  const button = player.querySelector("button");
  button.hidden = false;
  button.addEventListener("click", () => {
    const playing = player.classList.contains("playing");
    stop();
    if (!playing) play(player, button);
  });
}
