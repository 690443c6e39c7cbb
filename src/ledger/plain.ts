const amountKey = '$amount'

/** Plain values as JSON, amounts as decimal text: what has to wait on disk before the books take it. */
export function plainText(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? { [amountKey]: one.toString() } : one))
}

/** What `plainText` was given. Throws when it is no JSON. */
export function fromPlainText(json: string): unknown {
  return JSON.parse(json, (_, value: unknown) => {
    const amount: unknown = typeof value === 'object' && value !== null && amountKey in value ? value[amountKey] : undefined
    return typeof amount === 'string' ? BigInt(amount) : value
  })
}
