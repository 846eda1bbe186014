/** What stands in the editor before anything is written there: both event stores answer it, so no `count()`. */
export const FIRST_QUESTION =
  'SELECT event, count(*) AS events\nFROM events\nGROUP BY event ORDER BY events DESC LIMIT 20';
