import { type Database, type Statement, statement } from '../storage/database.ts'

/** What refers to a thing, so that it cannot go: "keys", "calls". Empty when nothing does. */
export async function referencesTo(database: Database, kind: keyof typeof referring, id: string): Promise<string[]> {
  const asked = referring[kind].map(async ({ word, sql }) => ((await database.report(sql, [id])).length > 0 ? [word] : []))
  return (await Promise.all(asked)).flat()
}

/** Some of these look through whole tables of the books, which is why they are asked as a report and not within a commit. */
const referring = {
  user: [
    one('keys', 'keys', 'user_id'),
    one('subscriptions', 'subscriptions', 'user_id'),
    one('entries of the wallet', 'entries', 'wallet_id'),
    one('calls', 'calls', 'user_id'),
  ],
  account: [one('calls', 'calls', 'account_id'), one('attempts', 'attempts', 'account_id')],
  group: [
    one('accounts', 'account_groups', 'group_id'),
    one('keys', 'key_groups', 'group_id'),
    one('subscriptions', 'subscriptions', 'group_id'),
    one('codes', 'codes', 'group_id'),
    one('calls', 'calls', 'group_id'),
  ],
} as const satisfies { readonly [kind: string]: readonly Reference[] }

interface Reference {
  readonly word: string
  readonly sql: Statement
}

function one(word: string, table: string, column: string): Reference {
  return { word, sql: statement(`select 1 as found from ${table} where ${column} = $1 limit 1`) }
}
