/** Where a command writes. `main.ts` binds it to the process; tests collect what is written. */
export type Io = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Bytes to stdout as they are; resolves when they were taken, so that a slow reader is waited for. */
  readonly send: (bytes: Uint8Array) => Promise<void>;
  /** Whether a person sits there, who can read colours and be asked. */
  readonly isTTY: boolean;
};

/** What a command may be told while it runs. */
export type Input = {
  /** Puts a question to the person. Only when `isTTY`. */
  readonly ask: (question: string) => Promise<string>;
  /** Everything on stdin. */
  readonly readAll: () => Promise<string>;
  /** Everything on stdin, as the bytes come. */
  readonly bytes: () => AsyncIterable<Uint8Array>;
};
