/** Whose reasoning an account can read, and what a call was sent without because nobody could read it. */
export const organizations = {
  number: 8,
  name: 'organizations',
  sql: `
alter table accounts add column organization text;
alter table calls add column repaired text;
`,
}
