/** A JSON object whose members nobody has checked yet. */
export type Fields = Readonly<Record<string, unknown>>

/** Neither null nor an array. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
