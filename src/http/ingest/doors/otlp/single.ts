/** Records of an OTLP request as requests of their own, in JSON: how they are kept where they are rejected. */
import { isUtf8 } from 'node:buffer';
import { createScanner, type Scanner } from '../../../../event/json.ts';
import { finish } from '../../../../event/steps.ts';
import { otlpJsonOf } from './as-json.ts';
import { takeRaw } from './json-scalars.ts';
import { readOutline, type Resource, type Scope } from './outline.ts';

type RecordAt = (index: number) => string | null;

/**
 * Gives the record at a place as a request with its scope and its resource, raw; null where that cannot be told. To be
 * asked for places in ascending order. Nothing is done before the first is asked for.
 */
export function recordsOf(body: Buffer, isProtobuf: boolean): RecordAt {
  let walk: RecordAt | null = null;
  return (index) => (walk ??= walkOf(body, isProtobuf))(index);
}

function walkOf(body: Buffer, isProtobuf: boolean): RecordAt {
  const json = isProtobuf ? jsonOf(body) : body;
  if (json === null) return () => null;
  const scanner = createScanner(isUtf8(json) ? json : Buffer.from(json.toString('utf8')));
  return createRequestWalk(scanner, finish(readOutline(scanner)));
}

/** Null where it is too large as JSON, or nested too deep. */
function jsonOf(body: Buffer): Buffer | null {
  try {
    return Buffer.from(otlpJsonOf(body));
  } catch {
    return null;
  }
}

function createRequestWalk(scanner: Scanner, resources: readonly Resource[]): RecordAt {
  const scopes = resources
    .values()
    .flatMap((resource) => resource.scopes.map((scope): [Resource, Scope] => [resource, scope]));
  let current = scopes.next();
  let first = 0;
  return (index) => {
    while (!current.done && index >= first + current.value[1].records.length) {
      first += current.value[1].records.length;
      current = scopes.next();
    }
    return current.done ? null : requestOf(scanner, ...current.value, current.value[1].records[index - first]!);
  };
}

function requestOf(scanner: Scanner, resource: Resource, scope: Scope, record: number): string {
  const ofScope = member('scope', scope.at) + member('schemaUrl', scope.schemaAt);
  const ofResource = member('resource', resource.at) + member('schemaUrl', resource.schemaAt);
  return `{"resourceLogs":[{${ofResource}"scopeLogs":[{${ofScope}"logRecords":[${rawAt(record)}]}]}]}`;

  function member(name: string, at: number): string {
    return at < 0 ? '' : `"${name}":${rawAt(at)},`;
  }

  function rawAt(at: number): string {
    scanner.at = at;
    return takeRaw(scanner);
  }
}
