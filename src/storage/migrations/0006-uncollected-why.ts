/** Why a call cost more than could be taken; null when nothing is uncollected, and on rows older than this. */
export const uncollectedWhy = {
  number: 6,
  name: 'uncollected why',
  sql: 'alter table calls add column uncollected_why text;',
}
