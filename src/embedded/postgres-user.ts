/**
 * Postgres refuses to run as root. When Weir runs as root, its server runs as an existing unprivileged user that may
 * pass through directories of others: a checkout below /root is closed to everybody else.
 */
import { execFileSync, spawnSync } from 'node:child_process';

export type ServerCommand = {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly identity?: Identity;
};

export type Identity = { readonly uid: number; readonly gid: number };

/** Builds commands for one unprivileged user; `identity` is null when Weir itself is not root. */
export type PostgresUser = {
  readonly identity: Identity | null;
  /** Whether it must pass through directories of others above its own. */
  readonly needsWay: boolean;
  command(file: string, args: readonly string[], cwd: string): ServerCommand;
};

export function findPostgresUser(): PostgresUser {
  if (process.getuid?.() !== 0)
    return { identity: null, needsWay: false, command: (file, args, cwd) => ({ file, args, cwd }) };
  const identity = identityOf('postgres') ?? identityOf('nobody') ?? { uid: 65534, gid: 65534 };
  const prefix = capabilityPrefix(identity);
  return {
    identity,
    needsWay: prefix === null,
    command: (file, args, cwd) =>
      prefix ? { file: 'setpriv', args: [...prefix, file, ...args], cwd } : { file, args, cwd, identity },
  };
}

function identityOf(name: string): Identity | null {
  try {
    const ask = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' }));
    return { uid: ask('-u'), gid: ask('-g') };
  } catch {
    return null; // No such user; the caller has another idea.
  }
}

/** The setpriv arguments that keep one capability, or null where that is impossible. */
function capabilityPrefix({ uid, gid }: Identity): readonly string[] | null {
  const prefix = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    '--inh-caps=+dac_read_search',
    '--ambient-caps=+dac_read_search',
    // initdb looks for its neighbours with access(), which otherwise ignores a plain user's capabilities.
    '--securebits=+no_setuid_fixup',
    '--',
  ];
  return spawnSync('setpriv', [...prefix, 'true']).status === 0 ? prefix : null;
}
