// Meshes are decoded only when their viewer comes near the window: a page with hundreds of them opens at once.
const viewers = [...document.querySelectorAll("model-viewer")];
const count = (name) => {
  document.body.dataset[name] = Number(document.body.dataset[name] ?? 0) + 1;
};

function load(viewer) {
  const text = document.getElementById(viewer.dataset.glb).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  viewer.src = URL.createObjectURL(new Blob([bytes], { type: "model/gltf-binary" }));
}

const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    load(target);
  }
}, { rootMargin: "300px" });

for (const viewer of viewers) {
  viewer.addEventListener("load", () => count("ready"));
  viewer.addEventListener("error", () => count("failed"));
  // The wheel scrolls the page until a mesh has been clicked.
  viewer.addEventListener("pointerdown", () => { viewer.disableZoom = false; });
  viewer.addEventListener("pointerleave", () => { viewer.disableZoom = true; });
  // Two meshes of one object turn together.
  viewer.addEventListener("camera-change", (event) => {
    if (event.detail.source !== "user-interaction") return;
    for (const other of viewer.closest(".object").querySelectorAll("model-viewer")) {
      if (other !== viewer) other.cameraOrbit = viewer.getCameraOrbit().toString();
    }
  });
  nearby.observe(viewer);
}
document.body.dataset.viewers = viewers.length;
