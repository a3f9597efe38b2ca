"use strict";
// The viewer shows two pictures of the gallery, which is readable without it.
const viewer = document.getElementById("viewer");
if (viewer) {
  const gallery = document.getElementById("gallery");
  const stage = document.getElementById("stage");
  const choice = viewer.elements;

  const find = (kind) => {
    const still = `[data-scene="${choice.scene.value}"][data-kind="${kind}"]`;
    return gallery.querySelector(`${still}[data-step="${choice.step.value}"], ${still}:not([data-step])`);
  };

  const show = (side) => {
    const found = find(choice[side].value);
    const image = stage.querySelector(`.${side} img`);
    const label = stage.querySelector(`.${side} span`);
    image.hidden = !found;
    label.textContent = found ? found.dataset.kind : `no ${choice[side].value}`;
    if (found) {
      image.src = found.src;
      image.alt = found.alt;
      image.className = found.className;
      stage.style.aspectRatio = `${found.getAttribute("width")} / ${found.getAttribute("height")}`;
    }
  };

  const divide = () => stage.style.setProperty("--cut", `${choice.divider.value}%`);

  const drag = (event) => {
    if (event.buttons) {
      const box = stage.getBoundingClientRect();
      choice.divider.value = (100 * (event.clientX - box.left)) / box.width;
      divide();
    }
  };

  viewer.addEventListener("input", () => {
    show("left");
    show("right");
    divide();
  });
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
  viewer.hidden = false;
  gallery.open = false;
  show("left");
  show("right");
  divide();
}
