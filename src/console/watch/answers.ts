/** The types of what the routes that watch the service answer, for the page. */

/** Events per second, over the last moments. */
export type Rates = {
  readonly accepted: number;
  readonly stored: number;
  readonly rejected: number;
  readonly deadLettered: number;
};
