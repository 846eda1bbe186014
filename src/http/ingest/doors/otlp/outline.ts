/** Where the records of a request in OTLP/JSON are, and what is said of many of them; found in one scan of the whole. */
import { enter, isAtArray, isAtObject, nextElement, nextKey, scanValue, type Scanner } from '../../../../event/json.ts';
import { BYTES_A_STEP, type Steps } from '../../../../event/steps.ts';

/** Records of one scope of one resource: places in the document, -1 for what is not there. */
export type Scope = { at: number; schemaAt: number; readonly records: number[] };
export type Resource = { at: number; schemaAt: number; readonly scopes: Scope[] };

/** Scans the request at the cursor, which moves behind it. Whether it is JSON at all is known from the scanner then. */
export function* readOutline(scanner: Scanner): Steps<readonly Resource[]> {
  const resources: Resource[] = [];
  let stepEnd = scanner.at + BYTES_A_STEP;
  for (const key of membersAt(scanner)) {
    if (key !== '"resourceLogs"' || !isAtArray(scanner)) scanValue(scanner);
    else for (const _ of elementsAt(scanner)) resources.push(yield* readResource());
  }
  return resources;

  function* readResource(): Steps<Resource> {
    const resource: Resource = { at: -1, schemaAt: -1, scopes: [] };
    for (const key of membersAt(scanner)) {
      if (key === '"scopeLogs"' && isAtArray(scanner)) {
        for (const _ of elementsAt(scanner)) resource.scopes.push(yield* readScope());
        continue;
      }
      if (key === '"resource"') resource.at = scanner.at;
      else if (key === '"schemaUrl"') resource.schemaAt = scanner.at;
      scanValue(scanner);
    }
    return resource;
  }

  function* readScope(): Steps<Scope> {
    const scope: Scope = { at: -1, schemaAt: -1, records: [] };
    for (const key of membersAt(scanner)) {
      if (key === '"logRecords"' && isAtArray(scanner)) {
        for (const _ of elementsAt(scanner)) {
          scope.records.push(scanner.at);
          scanValue(scanner);
          if (scanner.at < stepEnd) continue;
          stepEnd = scanner.at + BYTES_A_STEP;
          yield;
        }
        continue;
      }
      if (key === '"scope"') scope.at = scanner.at;
      else if (key === '"schemaUrl"') scope.schemaAt = scanner.at;
      scanValue(scanner);
    }
    return scope;
  }
}

/** The raw keys of the object at the cursor, which stands at the value of each; it must be moved behind that. */
export function* membersAt(scanner: Scanner): Generator<string> {
  if (!isAtObject(scanner)) return void scanValue(scanner);
  enter(scanner);
  while (scanner.problem === null && nextKey(scanner)) yield scanner.text.slice(scanner.keyStart, scanner.keyEnd);
}

/** The same for the elements of the array at the cursor. */
function* elementsAt(scanner: Scanner): Generator<undefined> {
  enter(scanner);
  while (scanner.problem === null && nextElement(scanner)) yield;
}
