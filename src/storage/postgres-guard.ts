/**
 * Guards that PostgreSQL itself keeps.
 *
 * A transaction travels whole, its `commit` included, so that locks last no longer than its statements run and never for a journey over the network.
 * So it is the server that must undo it when a statement touched another number of rows than it had to: the statement is wrapped into one
 * that counts, and whose failure is recognised by a text of ours.
 */
export function guarded(sql: string, rows: number): string {
  const count = `select cast(case when count(*) = ${rows} then '1' else '${refusal}' end as bigint) as kept from guarded`
  if (!returnsRows(sql)) return `with guarded as (${sql} returning 1) select kept from (${count}) as counted where kept <> 1`
  // Where rows must come, the count comes first, because a join to no rows would be over before anybody had counted them.
  return `with guarded as (${sql}) select guarded.* from (${count}) as counted ${rows === 0 ? '' : 'left '}join guarded on kept = 1`
}

/** Whether an error is a guard's refusal. PostgreSQL tells the text that could not be read as a number, in any language. */
export function isRefusal({ code, message }: { readonly code?: string | undefined; readonly message: string }): boolean {
  return code === invalidText && message.includes(refusal)
}

/** Also stands in the server's log, where somebody may wonder about it. */
const refusal = 'headgate undoes a transaction whose guard failed; this is no error'
const invalidText = '22P02'

/** Our statements are a select, or change rows and say at their end what they return. */
function returnsRows(sql: string): boolean {
  return /^\s*(select|with)\b/i.test(sql) || /\breturning\b/i.test(sql.replaceAll(/'(?:[^']|'')*'/g, ''))
}
