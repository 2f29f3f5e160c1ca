// Nested JSON ends TensorFlow Serving with a segmentation fault (CVE-2025-0649): 18,750 arrays, each
// the first element of the one around it, are enough. Images are four arrays deep.
const deep = /(?:\[\s*){9}/;

function check(r) {
    if (deep.test(r.requestText)) {
        r.headersOut["Content-Type"] = "application/json";
        r.return(400, '{"error": "The JSON is nested too deeply: at most 8 arrays may begin one inside the other"}\n');
    } else {
        r.internalRedirect("@predict");
    }
}

export default { check };
