/** The syntax tree of a query, read from the lines of `EXPLAIN AST`. */

/** `name` and `alias` are empty and null where there is none; `childCount` is what ClickHouse says, `children` what was read. */
export type Node = {
  readonly kind: string;
  readonly name: string;
  readonly alias: string | null;
  readonly children: Node[];
  readonly childCount: number;
};

/** The tree, or null unless every line is understood and every node has as many children as it says. */
export function treeOf(lines: readonly string[]): Node | null {
  const [first, ...rest] = lines.map(parsed);
  if (!first || first.depth !== 0) return null;
  const path = [first.node];
  for (const line of rest) {
    if (!line || line.depth < 1 || line.depth > path.length) return null;
    path.length = line.depth;
    path.at(-1)!.children.push(line.node);
    path.push(line.node);
  }
  return isComplete(first.node) ? first.node : null;
}

function isComplete(root: Node): boolean {
  const waiting = [root];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (node.children.length !== node.childCount) return false;
    waiting.push(...node.children);
  }
  return true;
}

/**
 * A line of `EXPLAIN AST`: indentation, kind, name, alias, number of children.
 * A name that imitates what follows it can only make itself shorter, and the
 * number of children wrong.
 */
function parsed(line: string): { depth: number; node: Node } | null {
  const content = line.trimStart();
  const [head, childCount] = cut(content, content.lastIndexOf(' (children '));
  const children = childCount === null ? '0' : /^ \(children (\d+)\)$/.exec(childCount)?.[1];
  const [label, alias] = cut(head, head.indexOf(ALIAS));
  const [kind, name] = cut(label, label.indexOf(' '));
  if (!KIND.test(kind) || children === undefined) return null;
  const node = {
    kind,
    name: name?.slice(1) ?? '',
    alias: alias?.slice(ALIAS.length, -1) ?? null,
    children: [],
    childCount: Number(children),
  };
  return { depth: line.length - content.length, node };
}

const KIND = /^[A-Za-z:]+$/;
/** What stands before an alias. */
export const ALIAS = ' (alias ';

const cut = (text: string, at: number): [string, string | null] =>
  at < 0 ? [text, null] : [text.slice(0, at), text.slice(at)];

/** Every node of the tree. Without recursion: a query decides how deep its tree is. */
export function nodesOf(root: Node): readonly Node[] {
  const nodes = [root];
  for (let at = 0; at < nodes.length; at++) nodes.push(...nodes[at]!.children);
  return nodes;
}
