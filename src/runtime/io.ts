/** Where a command writes. `main.ts` binds it to the process; tests collect what is written. */
export type Io = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Writes bytes to stdout unchanged; resolves when they were taken, so that a slow reader is waited for. */
  readonly send: (bytes: Uint8Array) => Promise<void>;
  /** Whether a person is at the terminal, who can read colours and answer. */
  readonly isTTY: boolean;
};

/** What a command may read while it runs. */
export type Input = {
  /** Asks the person a question. Only when `isTTY`. */
  readonly ask: (question: string) => Promise<string>;
  /** The same without showing what is typed. */
  readonly askSecret: (question: string) => Promise<string>;
  /** Everything on stdin. */
  readonly readAll: () => Promise<string>;
  /** Everything on stdin, as the bytes arrive. */
  readonly bytes: () => AsyncIterable<Uint8Array>;
};
