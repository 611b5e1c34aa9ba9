'use strict';

/** Whether AWS refused a request because a permission is missing. Each service has its own name for that. */
exports.isDenied = ({ name }) => /^(AccessDenied|AuthorizationError)/.test(name);
