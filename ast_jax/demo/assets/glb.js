// Colours of the mesh and its GLB file: what ast_jax/export/bake.py (without its smooth offset) and gltf.py do in Python.
// Texel (i, j) of a face is the point with barycentrics b1 = i / (t - 1), b2 = j / (t - 1), see render.FaceTexels.
globalThis.AstGlb = (() => {
  "use strict";

  const SIDE = 12; // texels along a face of what is painted
  const PADDING = 1; // pixels repeated around each cell of the atlas
  const STEEPEST = 0.3; // from this cosine on a face is seen as well as from straight in front
  const BEHIND = 0.02; // a point no deeper than this behind what is seen there is seen, world units
  const DEPTH_SIZE = 256;

  /** Colours of all faces, SIDE x SIDE texels each: the picture where it shows the surface, its mirror image, the model.
   * picture: RGB and coverage, size x size; mirror: the mirror image of each face, or null. */
  function paint(mesh, texels, camera, picture, size, mirror) {
    const seen = look(mesh, camera, picture, size);
    const count = mesh.faces.length / 3;
    const t = Math.round(Math.sqrt(texels.length / 3 / count));
    const colours = new Float32Array(count * SIDE * SIDE * 3);
    let shown = 0, area = 0;
    for (let face = 0; face < count; face++) {
      for (let i = 0; i < SIDE; i++) {
        for (let j = 0; j < SIDE; j++) {
          const at = (face * SIDE + i) * SIDE + j;
          const other = mirror === null ? at : (mirror[face] * SIDE + j) * SIDE + i;
          const own = seen.weights[at];
          const mirrored = (1 - own) * (mirror === null ? 0 : seen.weights[other]);
          const guess = texel(texels, face, t, i / (SIDE - 1), j / (SIDE - 1));
          for (let c = 0; c < 3; c++) {
            colours[3 * at + c] = own * seen.colours[3 * at + c] + mirrored * seen.colours[3 * other + c]
              + (1 - own - mirrored) * guess[c];
          }
          if (i + j < SIDE) shown += (own > 0.5) * seen.areas[face];
          if (i + j < SIDE) area += seen.areas[face];
        }
      }
    }
    return { colours, seenShare: shown / Math.max(area, 1e-12) };
  }

  /** What the camera shows of every texel: the picture's colour there, and how much it is to be trusted. */
  function look(mesh, camera, picture, size) {
    const { vertices, faces } = mesh;
    const depths = AstCamera.depths(mesh, camera, DEPTH_SIZE);
    const count = faces.length / 3;
    const points = new Float64Array(count * SIDE * SIDE * 3);
    const facing = new Float64Array(count * SIDE * SIDE), areas = new Float64Array(count);
    const smooth = normals(mesh); // so that what is seen fades from face to face without an edge
    const eye = [0, 1, 2].map((k) =>
      -[0, 1, 2].reduce((sum, i) => sum + camera.rotation[3 * i + k] * camera.translation[i], 0));
    for (let face = 0; face < count; face++) {
      const [corners, directions] = [vertices, smooth].map((values) => [0, 1, 2].map((k) => {
        const at = 3 * faces[3 * face + k];
        return [values[at], values[at + 1], values[at + 2]];
      }));
      areas[face] = norm(cross(minus(corners[1], corners[0]), minus(corners[2], corners[0]))) / 2;
      for (let i = 0; i < SIDE; i++) {
        for (let j = 0; j < SIDE; j++) {
          const at = (face * SIDE + i) * SIDE + j;
          const [b1, b2] = onFace(i / (SIDE - 1), j / (SIDE - 1));
          const [point, normal] = [corners, directions].map((values) =>
            [0, 1, 2].map((k) => (1 - b1 - b2) * values[0][k] + b1 * values[1][k] + b2 * values[2][k]));
          const sight = minus(eye, point);
          const cosine = dot(normal, sight) / Math.max(norm(normal) * norm(sight), 1e-12);
          facing[at] = Math.min(Math.max(cosine / STEEPEST, 0), 1);
          points.set(point, 3 * at);
        }
      }
    }
    const places = AstCamera.project(points, camera, 1);
    const weights = new Float32Array(count * SIDE * SIDE), colours = new Float32Array(weights.length * 3);
    for (let at = 0; at < weights.length; at++) {
      const [x, y, depth] = [places[3 * at], places[3 * at + 1], places[3 * at + 2]];
      const column = Math.min(Math.max(Math.floor(x * DEPTH_SIZE), 0), DEPTH_SIZE - 1);
      const row = Math.min(Math.max(Math.floor(y * DEPTH_SIZE), 0), DEPTH_SIZE - 1);
      if (depth > depths[row * DEPTH_SIZE + column] + BEHIND) continue;
      const found = bilinear(picture, size, x * size - 0.5, y * size - 0.5);
      weights[at] = facing[at] * Math.max(2 * found[3] - 1, 0) ** 2;
      colours.set(found.slice(0, 3), 3 * at);
    }
    return { weights, colours, areas };
  }

  /** Barycentrics of a texel; one beyond the diagonal is moved to it. */
  function onFace(b1, b2) {
    const excess = Math.max(b1 + b2 - 1, 0) / 2;
    return [b1 - excess, b2 - excess];
  }

  function bilinear(picture, size, x, y) {
    const held = [x, y].map((value) => Math.min(Math.max(value, 0), size - 1));
    const [left, top] = held.map((value) => Math.min(Math.floor(value), size - 2));
    const [fx, fy] = [held[0] - left, held[1] - top];
    return [0, 1, 2, 3].map((c) => {
      const at = (dx, dy) => picture[4 * ((top + dy) * size + left + dx) + c];
      return (1 - fy) * ((1 - fx) * at(0, 0) + fx * at(1, 0)) + fy * ((1 - fx) * at(0, 1) + fx * at(1, 1));
    });
  }

  /** Bilinear lookup in the t x t texels of a face. */
  function texel(texels, face, t, b1, b2) {
    const first = t === 1 ? 0 : Math.min(Math.floor(b1 * (t - 1)), t - 2);
    const second = t === 1 ? 0 : Math.min(Math.floor(b2 * (t - 1)), t - 2);
    const [f, s] = t === 1 ? [0, 0] : [b1 * (t - 1) - first, b2 * (t - 1) - second];
    return [0, 1, 2].map((c) => {
      const at = (i, j) => texels[3 * ((face * t + Math.min(first + i, t - 1)) * t + Math.min(second + j, t - 1)) + c];
      return (1 - f) * ((1 - s) * at(0, 0) + s * at(0, 1)) + f * ((1 - s) * at(1, 0) + s * at(1, 1));
    });
  }

  /** All texels as one square picture, and u, v of the corners of the faces. See `bake_atlas`. */
  function atlas(colours, count) {
    const columns = Math.ceil(Math.sqrt(count));
    const cell = SIDE + 2 * PADDING, size = columns * cell;
    const rgba = new Uint8ClampedArray(size * size * 4).fill(255);
    const uv = new Float32Array(count * 6);
    for (let face = 0; face < count; face++) {
      const top = Math.floor(face / columns) * cell, left = (face % columns) * cell;
      for (let i = 0; i < cell; i++) {
        for (let j = 0; j < cell; j++) {
          const [si, sj] = [i, j].map((k) => Math.min(Math.max(k - PADDING, 0), SIDE - 1));
          for (let c = 0; c < 3; c++) {
            rgba[4 * ((top + i) * size + left + j) + c] = Math.round(255 * colours[3 * ((face * SIDE + si) * SIDE + sj) + c]);
          }
        }
      }
      [[0, 0], [0, SIDE - 1], [SIDE - 1, 0]].forEach(([dx, dy], corner) => {
        uv[6 * face + 2 * corner] = (left + PADDING + 0.5 + dx) / size;
        uv[6 * face + 2 * corner + 1] = (top + PADDING + 0.5 + dy) / size;
      });
    }
    return { rgba, size, uv };
  }

  async function png(rgba, size) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    canvas.getContext("2d").putImageData(new ImageData(rgba, size, size), 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    return new Uint8Array(await blob.arrayBuffer());
  }

  /** Unit normals of vertices, smooth. */
  function normals({ vertices, faces }) {
    const sums = new Float64Array(vertices.length);
    for (let face = 0; face < faces.length; face += 3) {
      const [a, b, c] = [0, 1, 2].map((k) => {
        const at = 3 * faces[face + k];
        return [vertices[at], vertices[at + 1], vertices[at + 2]];
      });
      const normal = cross(minus(b, a), minus(c, a));
      for (let k = 0; k < 3; k++) {
        for (let axis = 0; axis < 3; axis++) sums[3 * faces[face + k] + axis] += normal[axis];
      }
    }
    for (let at = 0; at < sums.length; at += 3) {
      const length = Math.hypot(sums[at], sums[at + 1], sums[at + 2]);
      if (length > 1e-12) for (let axis = 0; axis < 3; axis++) sums[at + axis] /= length;
      else sums.set([0, 1, 0], at); // glTF allows no zero normal
    }
    return sums;
  }

  /** The bytes of a binary glTF 2.0 file; every corner of every face is a vertex of its own. */
  async function encode(mesh, colours, name, extras) {
    const { vertices, faces } = mesh;
    const count = faces.length / 3;
    const { rgba, size, uv } = atlas(colours, count);
    const smooth = normals(mesh);
    const positions = new Float32Array(count * 9), directions = new Float32Array(count * 9);
    faces.forEach((vertex, corner) => {
      for (let axis = 0; axis < 3; axis++) {
        positions[3 * corner + axis] = vertices[3 * vertex + axis];
        directions[3 * corner + axis] = smooth[3 * vertex + axis];
      }
    });
    const indices = Uint32Array.from({ length: count * 3 }, (_, corner) => corner);
    const bounds = [Math.min, Math.max].map((extreme, k) =>
      [0, 1, 2].map((axis) => {
        let found = k === 0 ? Infinity : -Infinity;
        for (let at = axis; at < positions.length; at += 3) found = extreme(found, positions[at]);
        return found;
      }));
    const parts = [positions, directions, uv, indices, await png(rgba, size)];
    const views = [], targets = [34962, 34962, 34962, 34963, undefined];
    let length = 0;
    parts.forEach((part, k) => {
      views.push({ buffer: 0, byteOffset: length, byteLength: part.byteLength, target: targets[k] });
      length += Math.ceil(part.byteLength / 4) * 4;
    });
    const corners = count * 3;
    const tree = {
      asset: { version: "2.0", generator: "AST-JAX" },
      scene: 0,
      scenes: [{ nodes: [0] }],
      nodes: [{ mesh: 0, name }],
      meshes: [{ name, extras, primitives: [{ attributes: { POSITION: 0, NORMAL: 1, TEXCOORD_0: 2 }, indices: 3, material: 0 }] }],
      materials: [{
        name, doubleSided: true,
        pbrMetallicRoughness: { baseColorTexture: { index: 0 }, metallicFactor: 0, roughnessFactor: 1 },
      }],
      textures: [{ source: 0, sampler: 0 }],
      images: [{ bufferView: 4, mimeType: "image/png" }],
      samplers: [{ magFilter: 9729, minFilter: 9729, wrapS: 33071, wrapT: 33071 }],
      accessors: [
        { bufferView: 0, componentType: 5126, count: corners, type: "VEC3", min: bounds[0], max: bounds[1] },
        { bufferView: 1, componentType: 5126, count: corners, type: "VEC3" },
        { bufferView: 2, componentType: 5126, count: corners, type: "VEC2" },
        { bufferView: 3, componentType: 5125, count: corners, type: "SCALAR" },
      ],
      bufferViews: views,
      buffers: [{ byteLength: length }],
    };
    const json = new TextEncoder().encode(JSON.stringify(tree));
    const jsonLength = Math.ceil(json.length / 4) * 4;
    const file = new Uint8Array(12 + 8 + jsonLength + 8 + length);
    const header = new DataView(file.buffer);
    [0x46546c67, 2, file.length, jsonLength, 0x4e4f534a].forEach((word, k) => header.setUint32(4 * k, word, true));
    file.fill(0x20, 20, 20 + jsonLength).set(json, 20);
    [length, 0x004e4942].forEach((word, k) => header.setUint32(20 + jsonLength + 4 * k, word, true));
    parts.forEach((part, k) => {
      file.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), 28 + jsonLength + views[k].byteOffset);
    });
    return file;
  }

  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const norm = (a) => Math.sqrt(dot(a, a));
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

  return { encode, paint };
})();
