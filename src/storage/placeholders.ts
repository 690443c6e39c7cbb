/**
 * Turns `$1` placeholders, which may repeat and stand in any order, into SQLite's `?`.
 * The value of the nth `?` is `values[order[n]]`; `count` is how many values the statement wants.
 */
export function positional(sql: string): { readonly sql: string; readonly order: readonly number[]; readonly count: number } {
  const order: number[] = []
  const translated = sql.replace(tokens, (token, placeholder: string | undefined) => {
    if (placeholder === undefined) return token
    order.push(Number(placeholder) - 1)
    return '?'
  })
  return { sql: translated, order, count: Math.max(0, ...order.map(index => index + 1)) }
}

/** What could hide a dollar sign is matched first, whole: strings, quoted names, comments, and names, which may contain one. */
const tokens = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|[a-z_][\w$]*|\$(\d+)/gi
