import { parentPort } from 'node:worker_threads'

/**
 * A thread that sleeps from one due time to the next and tells each: a timer of the event loop knows whole milliseconds only, and
 * waiting in a loop would take the core from the upstream. It says that it is there, and is then given the due times, in milliseconds since
 * 1970 with their fractions.
 */
const sleeper = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

parentPort!.once('message', (dueMs: Float64Array) => {
  for (const due of dueMs) {
    const left = due - (performance.timeOrigin + performance.now())
    if (left > 0) Atomics.wait(sleeper, 0, 0, left)
    parentPort!.postMessage(due)
  }
})
parentPort!.postMessage('ready')
