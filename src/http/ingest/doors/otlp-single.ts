/** Records of an OTLP/JSON request as requests of their own. */
import type { Scanner } from '../../../event/json.ts';
import type { Resource, Scope } from './otlp-outline.ts';
import { takeRaw } from './otlp-values.ts';

/**
 * Gives the record at a place as a request with its scope and its resource, raw. To be asked for places in ascending
 * order.
 */
export function createRequestWalk(scanner: Scanner, resources: readonly Resource[]): (index: number) => string | null {
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
