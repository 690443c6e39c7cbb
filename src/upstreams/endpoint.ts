/** Where an API is: its origin, and the path that its own paths are under. */
export interface Endpoint {
  readonly origin: string
  /** Without a slash at the end. */
  readonly path: string
}

/** Base URLs, read once each: parsing one costs more than the rest of an attempt's preparation. */
const endpoints = new Map<string, Endpoint>()
const endpointsMax = 10_000

/** Reads a base URL. With or without `/v1` at the end: one without any path gets the API's own. */
export function endpointOf(baseUrl: string): Endpoint {
  let found = endpoints.get(baseUrl)
  if (found === undefined) {
    if (endpoints.size >= endpointsMax) endpoints.clear()
    const { origin, pathname } = new URL(baseUrl)
    const path = pathname.replace(/\/+$/, '')
    found = { origin, path: path === '' ? '/v1' : path }
    endpoints.set(baseUrl, found)
  }
  return found
}
