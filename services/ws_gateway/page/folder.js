/** What a device keeps for one school: a gateway may serve several, each in a folder of its address. */

const FOLDER = new URL(".", location.href).pathname;

/** Return the name under which this school's part is kept, where the page of no other school looks for it. */
export const ofSchool = (name) => (FOLDER === "/" ? name : `${name} ${FOLDER}`);
