/** What a device keeps for one school: the gateway of a district serves several, each in a folder of its address. */

/** The gateway of a district writes true here. */
const HAS_SCHOOLS = false;

/** Return the name under which this school's part is kept, where the page of no other school looks for it. */
export const ofSchool = (name) => (HAS_SCHOOLS ? `${name} ${new URL(".", location.href).pathname}` : name);
