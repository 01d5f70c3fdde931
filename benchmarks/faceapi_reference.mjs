/* Features of drawn faces by face-api.js itself: the reference for the tests of FaceApi.

    npm install @vladmandic/face-api@1.7.15 @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
    node benchmarks/faceapi_reference.mjs tests/networks/resnet29_reference.json \
        tests/networks/faceapi_reference.json

The chips of the first file, 30 x 30 RGB, are enlarged four times and cropped to 112 x 112. For each
chip and each network, the second file holds the mean of the last map over its cells. */

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// Packages are those of the folder that this is called from.
const require = createRequire(join(process.cwd(), "package.json"));
const tf = require("@tensorflow/tfjs");
require("@tensorflow/tfjs-backend-wasm");
const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");

await tf.setBackend("wasm");
const models = join(process.cwd(), "node_modules/@vladmandic/face-api/model");
const [chips, out] = process.argv.slice(2);
const networks = { expression: "faceExpressionNet", age_gender: "ageGenderNet" };
const reference = { "face-api": faceapi.version, chips: {} };
for (const [name, chip] of Object.entries(JSON.parse(readFileSync(chips)).chips)) {
  const small = tf.tensor3d(Buffer.from(chip.pixels, "base64"), [30, 30, 3]);
  const tiled = small.reshape([30, 1, 30, 1, 3]).tile([1, 4, 1, 4, 1]).reshape([120, 120, 3]);
  const image = tiled.slice([0, 0, 0], [112, 112, 3]);
  reference.chips[name] = {};
  for (const [part, net] of Object.entries(networks)) {
    await faceapi.nets[net].loadFromDisk(models);
    const map = faceapi.nets[net].faceFeatureExtractor.forwardInput(
      await faceapi.toNetInput(image),
    );
    const mean = await map.mean([1, 2]).data();
    reference.chips[name][part] = [...mean].map((value) => Number(value.toPrecision(6)));
  }
}
writeFileSync(out, JSON.stringify(reference) + "\n");
