/** Where a command writes. `main.ts` binds it to the process; tests collect what is written. */
export type Io = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whether a person sits there, who can read colours and be asked. */
  readonly isTTY: boolean;
};

/** What a command may be told while it runs. */
export type Input = {
  /** Puts a question to the person. Only when `isTTY`. */
  readonly ask: (question: string) => Promise<string>;
  /** Everything on stdin. */
  readonly readAll: () => Promise<string>;
};
