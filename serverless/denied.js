'use strict';

/** Whether AWS refused a request because a permission is missing. Each service has a name of its own for that. */
exports.isDenied = ({ name }) => /^(AccessDenied|AuthorizationError)/.test(name);
