/** JSON text that was written by somebody else: a result or payload that came from another member. */

/** What it says; the text itself where it is no JSON: shown as it is, and never thrown at whoever asks for the task. */
export function readJsonText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
