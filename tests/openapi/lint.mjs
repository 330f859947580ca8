// Reads an OpenAPI 3.1 document from standard input, validates it against the specification's schema, and checks what the
// schema cannot say. Prints each fault; exits with 1 when there is one.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const faults = [];
const document = JSON.parse(readFileSync(0, "utf8"));

const result = await new Validator().validate(structuredClone(document));
if (!result.valid)
	faults.push(`not valid: ${typeof result.errors === "string" ? result.errors : JSON.stringify(result.errors, null, 1)}`);
if (document.openapi !== "3.1.0")
	faults.push(`openapi is ${document.openapi}, not 3.1.0`);

function find(path) {
	return path.slice(2).split("/").reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

const used = new Set();
function walk(at, where) {
	if (at === null || typeof at !== "object")
		return;
	if (typeof at.$ref === "string") {
		used.add(at.$ref);
		if (!at.$ref.startsWith("#/") || find(at.$ref) === undefined)
			faults.push(`${where}: ${at.$ref} leads nowhere`);
	}
	for (const [key, value] of Object.entries(at))
		walk(value, `${where}/${key}`);
}
walk(document, "#");

const ids = new Set();
for (const [path, methods] of Object.entries(document.paths)) {
	const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]).sort();
	for (const [method, operation] of Object.entries(methods)) {
		const where = `${method.toUpperCase()} ${path}`;
		if (!operation.summary)
			faults.push(`${where}: has no summary`);
		if (!operation.operationId || ids.has(operation.operationId))
			faults.push(`${where}: its operationId is missing or taken`);
		ids.add(operation.operationId);
		const said = operation.parameters.filter((p) => p.in === "path").map((p) => p.name).sort();
		if (said.join() !== named.join())
			faults.push(`${where}: names the parameters ${said} for {${named}}`);
		if (!Object.keys(operation.responses).some((status) => /^[12]/.test(status)))
			faults.push(`${where}: no good answer`);
		if (!operation.responses.default)
			faults.push(`${where}: no answer for problems`);
		if ((method === "get" || method === "delete") && operation.requestBody)
			faults.push(`${where}: has a body`);
	}
}

for (const fault of faults)
	console.error(`openapi: ${fault}`);
console.log(`openapi: ${ids.size} operations, ${Object.keys(document.components.schemas).length} schemas, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
