// Validates the contract in directories: node validate.mjs DIR... In each, the document by AsyncAPI's own parser, the
// examples in it by its schemas, and the golden records by the published JSON Schemas. Prints one JSON object: what is
// wrong, by directory.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";
import Ajv from "ajv/dist/2020.js";

const parser = new Parser();

async function faultsOf(directory) {
  const read = (name) => readFile(`${directory}/${name}`, "utf8");
  const faults = [];
  const hold = (place, value, schema) => {
    const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
    if (!ajv.validate(schema, value)) faults.push(`${place}: ${ajv.errorsText(ajv.errors, { dataVar: "" })}`);
  };
  const { document, diagnostics } = await parser.parse(await read("asyncapi.yaml"));
  for (const { severity, path, message } of diagnostics) {
    if (severity <= 1) faults.push(`${path.join(".")}: ${message}`); // errors and warnings
  }
  for (const message of document?.messages() ?? []) {
    for (const example of message.examples()) {
      const place = `${message.id()}, example ${example.name()}`;
      hold(`${place}, headers`, example.headers(), message.headers().json());
      hold(`${place}, payload`, example.payload(), message.payload().json());
    }
  }
  for (const line of (await read("golden/taken.ndjson")).trim().split("\n")) {
    const { name, headers, value } = JSON.parse(line);
    const type = headers.ce_type ?? value.type;
    const body = headers.ce_type ? value : value.data;
    if (!body) continue; // msgpack
    const schema = JSON.parse(await read(`schemas/${type.replace(/^tieline\./, "")}.json`));
    hold(`golden record ${name}`, body, schema);
  }
  return faults;
}

const answer = {};
for (const directory of process.argv.slice(2)) answer[directory] = await faultsOf(directory);
console.log(JSON.stringify(answer));
