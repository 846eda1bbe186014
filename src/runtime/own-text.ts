/**
 * The same text by itself, for what outlives a request: a part of a long text keeps all of that in memory, here the
 * request's body. What is no well-formed Unicode is replaced.
 */
export const ownText = (text: string): string => Buffer.from(text).toString();
