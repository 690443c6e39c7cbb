/**
 * What mostly is there at once. An async function that had nothing to wait for costs its caller a promise and a turn or two all the same,
 * about a microsecond, and a call passes many.
 */
export type Soon<Value> = Value | Promise<Value>

/** What was over at once, for those who must promise it. Whoever knows it when they see it need not wait for it. */
export const overAtOnce: Promise<void> = Promise.resolve()

/** Goes on with the value: at once when it is there, else when it is. */
export function whenThere<Value, Next>(value: Soon<Value>, goOn: (value: Value) => Soon<Next>): Soon<Next> {
  return value instanceof Promise ? value.then(goOn) : goOn(value)
}
