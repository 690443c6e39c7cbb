/** The grammar of header fields (RFC 9110, 5.5 and 5.6.2), which requests must keep to and answers are held to. */

const token = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/
const flawOfValue = /[^\t\x20-\x7e\x80-\xff]/

/** Whether it can be the name of a field. */
export function isFieldName(text: string): boolean {
  return token.test(text)
}

/** Whether it can be a value, as latin1: no line's end, nothing else that steers. */
export function isFieldValue(text: string): boolean {
  return !flawOfValue.test(text)
}
